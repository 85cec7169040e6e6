"""SimCLR and SimSiam against their papers' algorithms, written out in float64."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from backbench.nn import SSLMethod, TrainingContext
from backbench_ssl.method_options import SimCLROptions, SimSiamOptions
from backbench_ssl.simclr import SimCLR
from backbench_ssl.simsiam import SimSiam, projection

BACKBONE = {"name": "tiny-resnet", "widths": (8, 16), "strides": (2, 2), "stem_width": 8}
N = 12


def build(method: type[SSLMethod], model: Any, **given: Any) -> Any:
    options = model.model_validate({"backbone": BACKBONE, "precision": "fp32", **given})
    context = TrainingContext(images=48, image_size=32, steps_per_epoch=4, seed=0)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return method(options, context)


def views() -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    return torch.randn(N, 3, 32, 32, generator=draw), torch.randn(N, 3, 32, 32, generator=draw)


def layers(stack: nn.Sequential, inputs: np.ndarray) -> np.ndarray:
    """Linear layers, batch norms over all rows and ReLUs, by their formulas."""
    for layer in stack:
        match layer:
            case nn.Linear():
                inputs = inputs @ layer.weight.detach().double().numpy().T
                if layer.bias is not None:
                    inputs = inputs + layer.bias.detach().double().numpy()
            case nn.BatchNorm1d():
                inputs = (inputs - inputs.mean(0)) / np.sqrt(inputs.var(0) + 1e-5)
                if layer.affine:
                    scale, shift = layer.weight.detach(), layer.bias.detach()
                    inputs = inputs * scale.double().numpy() + shift.double().numpy()
            case _:
                inputs = np.maximum(inputs, 0)
    return inputs


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other / (math.hypot(*one) * math.hypot(*other)))


def represented(task: Any) -> list[np.ndarray]:
    with torch.no_grad():
        return [task.encoder(x).double().numpy() for x in views()]


def test_simclr_is_algorithm_1():
    task = build(SimCLR, SimCLROptions, dim=6, temperature=0.3)
    z = np.concatenate([layers(task.g, h) for h in represented(task)])
    total = 0.0
    for i in range(2 * N):
        partner = (i + N) % (2 * N)
        others = sum(math.exp(cosine(z[i], z[k]) / 0.3) for k in range(2 * N) if k != i)
        total -= math.log(math.exp(cosine(z[i], z[partner]) / 0.3) / others)
    assert task.training_loss(views()).item() == pytest.approx(total / (2 * N), rel=1e-5)


def test_simsiam_is_algorithm_1():
    task = build(SimSiam, SimSiamOptions, dim=10, hidden=4)
    z1, z2 = (layers(task.g, y) for y in represented(task))
    p1, p2 = (layers(task.h, z) for z in (z1, z2))
    distance = [-(cosine(p1[i], z2[i]) + cosine(p2[i], z1[i])) / 2 for i in range(N)]
    assert task.training_loss(views()).item() == pytest.approx(sum(distance) / N, abs=1e-5)


def test_simsiam_stops_the_gradient_of_the_projections_that_are_predicted():
    """With the predictions fixed, nothing is left that could move the projection."""
    task = build(SimSiam, SimSiamOptions, dim=10, hidden=4)
    fixed = torch.randn(N, 10, generator=torch.Generator().manual_seed(1), requires_grad=True)
    task.h.forward = lambda _z: fixed
    task.training_loss(views()).backward()
    assert fixed.grad is not None
    assert all(parameter.grad is None for parameter in task.g.parameters())


def test_the_projection_has_the_layers_of_section_3():
    kinds = [type(part).__name__ for part in projection(5, 7, 3)]
    assert kinds == ["Linear", "BatchNorm1d", "ReLU"] * 2 + ["Linear", "BatchNorm1d"]
    assert [tuple(p.shape) for p in projection(5, 7, 2).parameters()] == [
        (7, 5), (7,), (7,), (7, 7),
    ]  # fmt: skip
