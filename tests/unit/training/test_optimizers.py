"""Optimizers against their formulas, written out in float64."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from backbench.errors import StageError
from backbench.options.optimizer import OptimizerOptions
from backbench.training.optimizers import build_optimizer

STEPS = 8


def trained(options: OptimizerOptions, start: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    """Return the values of a parameter after steps with given gradients (STEPS, …)."""
    parameter = nn.Parameter(torch.from_numpy(start.copy()))

    class Task:
        def param_groups(self) -> Any:
            return [{"params": [parameter], "weight_decay": options.weight_decay}]

    optimizer = build_optimizer(Task(), options)  # type: ignore[arg-type]
    for slope in slopes:
        parameter.grad = torch.from_numpy(slope.copy())
        optimizer.step()
    return parameter.detach().numpy()


@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 2, 2)])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_lars_of_a_layer(shape: tuple[int, ...], decay: float):
    rng = np.random.default_rng(0)
    start, slopes = rng.normal(size=shape), rng.normal(size=(STEPS, *shape))
    options = OptimizerOptions(name="lars", lr=2.0, momentum=0.8, weight_decay=decay, trust=0.01)
    weights, velocity = start.copy(), np.zeros(shape)
    for slope in slopes:
        whole = slope + decay * weights
        layers = 0.01 * np.sqrt((weights**2).sum()) / np.sqrt((whole**2).sum())
        velocity = 0.8 * velocity + 2.0 * layers * whole
        weights = weights - velocity
    assert np.allclose(trained(options, start, slopes), weights, rtol=1e-12)


def test_lars_leaves_biases_and_norms_to_the_plain_step():
    rng = np.random.default_rng(1)
    start, slopes = rng.normal(size=5), rng.normal(size=(STEPS, 5))
    options = OptimizerOptions(name="lars", lr=0.1, momentum=0.8, weight_decay=0.0)
    values, velocity = start.copy(), np.zeros(5)
    for slope in slopes:
        velocity = 0.8 * velocity + 0.1 * slope
        values = values - velocity
    assert np.allclose(trained(options, start, slopes), values, rtol=1e-12)


def test_lars_of_zero_weights_takes_the_plain_step_and_of_no_gradient_none():
    options = OptimizerOptions(name="lars", lr=0.5, momentum=0.0, weight_decay=0.0)
    zero, ones = np.zeros((2, 2)), np.ones((1, 2, 2))
    assert np.array_equal(trained(options, zero, ones), np.full((2, 2), -0.5))
    assert np.array_equal(trained(options, ones[0], zero[None]), np.ones((2, 2)))


def test_nesterovs_momentum_looks_ahead():
    rng = np.random.default_rng(3)
    start, slopes = rng.normal(size=(3, 2)), rng.normal(size=(STEPS, 3, 2))
    options = OptimizerOptions(lr=0.1, momentum=0.8, weight_decay=0.2, nesterov=True)
    weights, velocity = start.copy(), np.zeros((3, 2))
    for slope in slopes:
        whole = slope + 0.2 * weights
        velocity = 0.8 * velocity + whole
        weights = weights - 0.1 * (whole + 0.8 * velocity)
    assert np.allclose(trained(options, start, slopes), weights, rtol=1e-9)


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.8, 0.95)])
def test_adamw_decays_the_weights_and_not_the_gradient(betas: tuple[float, float]):
    rng = np.random.default_rng(2)
    start, slopes = rng.normal(size=(3, 2)), rng.normal(size=(STEPS, 3, 2))
    options = OptimizerOptions(name="adamw", lr=0.01, weight_decay=0.3, betas=betas)
    weights, mean, square = start.copy(), np.zeros((3, 2)), np.zeros((3, 2))
    for step, slope in enumerate(slopes, start=1):
        mean = betas[0] * mean + (1 - betas[0]) * slope
        square = betas[1] * square + (1 - betas[1]) * slope**2
        unbiased = mean / (1 - betas[0] ** step), square / (1 - betas[1] ** step)
        weights = weights * (1 - 0.01 * 0.3) - 0.01 * unbiased[0] / (np.sqrt(unbiased[1]) + 1e-8)
    assert np.allclose(trained(options, start, slopes), weights, rtol=1e-9)


def test_no_plugin_makes_one_of_torchs_own():
    """Its first call imports torch's compiler, and that takes longer than many a stage."""
    plugins = Path(__file__).parents[3] / "plugins"
    files = list(plugins.rglob("*.py"))
    assert len(files) > 50
    texts = {str(path.relative_to(plugins)): path.read_text(encoding="utf-8") for path in files}
    assert [name for name, text in texts.items() if re.search(r"torch\.optim\.\w+\(", text)] == []


def test_a_learning_rate_of_a_group_is_refused():
    class Task:
        def param_groups(self) -> Any:
            return [{"params": [nn.Parameter(torch.ones(2))], "lr": 1e-9, "weight_decay": 0.0}]

    with pytest.raises(StageError, match=r"Task.param_groups\(\) states lr: the option"):
        build_optimizer(Task(), OptimizerOptions(name="sgd", lr=0.1))  # type: ignore[arg-type]
