"""BYOL against the published algorithm, written out: loss, heads, target, optimizer."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from backbench.images import ArrayImages
from backbench.nn import TrainingContext
from backbench.training.loop import TrainingRun, pretrain
from backbench.training.optimizers import build_optimizer
from backbench_ssl.byol import BYOL, target_momentum
from backbench_ssl.method_options import BYOLOptions

BATCH, GPUS, EPOCHS, STEPS = 16, 4, 3, 6
SMALL = {
    "backbone": {"name": "tiny-resnet", "widths": (8, 16), "strides": (2, 2), "stem_width": 8},
    "epochs": EPOCHS,
    "batch_size": BATCH,
    "dim": 6,
    "hidden": 12,
    "momentum": 0.9,
    "schedule": {"name": "constant", "milestones": (), "warmup_steps": 0},
    "precision": "fp32",
    "knn_evaluations": 0,
}


class Recorded(BYOL):
    """Keeps the networks before and after each step."""

    made: list[Recorded]

    def __init__(self, options: BYOLOptions, context: TrainingContext) -> None:
        super().__init__(options, context)
        self.log: list[dict[str, Any]] = []
        type(self).made.append(self)

    def training_loss(self, views: tuple[Tensor, Tensor]) -> Tensor:
        networks = copy.deepcopy((self.online, self.target, self.predictor))
        loss = super().training_loss(views)
        self.log.append({"views": views, "networks": networks, "loss": loss.item()})
        return loss

    def after_step(self, progress: Any) -> None:
        self.log[-1]["before"] = values(self.target)
        self.log[-1]["online"] = values(self.online)
        super().after_step(progress)
        self.log[-1]["after"] = values(self.target)
        self.log[-1]["epoch"] = progress.epoch


def values(module: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten().double() for parameter in module.parameters()])


@pytest.fixture(scope="module")
def task() -> Recorded:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (2 * BATCH, 8, 8, 3), dtype=np.uint8)
    pixels = coarse.repeat(4, 1).repeat(4, 2)
    images = ArrayImages(pixels, np.arange(len(pixels)) % 2, [str(i) for i in range(len(pixels))])
    Recorded.made = []
    options = BYOLOptions.model_validate(SMALL)
    assert options.norm_groups == GPUS
    pretrain(Recorded, TrainingRun(options, images, 1, "cpu"))
    return Recorded.made[0]


def head(layers: nn.Sequential, inputs: Tensor) -> Tensor:
    """Linear, batch norm over all rows, ReLU, linear: by their formulas, in float64."""
    first, norm, _, last = layers
    hidden = inputs.double() @ first.weight.double().T + first.bias.double()
    mean = hidden.mean(0)
    spread = ((hidden - mean) ** 2).mean(0)
    hidden = (hidden - mean) / (spread + 1e-5).sqrt() * norm.weight.double() + norm.bias.double()
    hidden = hidden * (hidden > 0)
    return hidden @ last.weight.double().T + last.bias.double()


@torch.no_grad()
def encoded(encoder: nn.Module, images: Tensor) -> Tensor:
    """What four GPUs with batch norms of their own make of a batch."""
    return torch.cat([encoder(part) for part in images.split(BATCH // GPUS)])


def regression(predictions: Tensor, targets: Tensor) -> float:
    total = 0.0
    for prediction, target in zip(predictions.tolist(), targets.tolist(), strict=True):
        product = sum(p * t for p, t in zip(prediction, target, strict=True))
        lengths = math.hypot(*prediction) * math.hypot(*target)
        total += 2 - 2 * product / lengths
    return total / len(predictions)


def test_loss_of_every_step(task: Recorded):
    assert len(task.log) == STEPS
    for step in task.log:
        online, target, predictor = step["networks"]
        first, second = step["views"]
        assert not torch.equal(first, second)
        with torch.no_grad():
            (p1, p2), (z1, z2) = (
                [head(network[1], encoded(network[0], view)) for view in (first, second)]
                for network in (online, target)
            )
            p1, p2 = head(predictor, p1), head(predictor, p2)
        expected = regression(p1, z2) + regression(p2, z1)
        assert 0 < expected < 8
        assert step["loss"] == pytest.approx(expected, rel=1e-6)


def test_target_of_every_step(task: Recorded):
    """Parameters alone, after the optimizer, with a momentum that changes once an epoch."""
    assert [step["epoch"] for step in task.log] == [0, 0, 1, 1, 2, 2]
    for step in task.log:
        tau = 1 - (1 - 0.9) * (math.cos(math.pi * step["epoch"] / EPOCHS) + 1) / 2
        expected = tau * step["before"] + (1 - tau) * step["online"]
        assert ((step["after"] - expected).norm() / expected.norm()).item() < 1e-6
        assert not torch.equal(step["after"], step["before"])
    online, target = (net[0].backbone.body.norm for net in (task.online, task.target))
    assert online.num_batches_tracked.item() == 2 * STEPS  # one a view, though four groups
    assert target.num_batches_tracked.item() == 2 * STEPS
    assert not torch.equal(online.running_mean, target.running_mean)


def test_momentum_of_every_epoch():
    for epoch in range(200):
        expected = 1 - (1 - 0.99) * (math.cos(math.pi * epoch / 200) + 1) / 2
        assert target_momentum(0.99, epoch, 200) == pytest.approx(expected, rel=1e-12)
    assert target_momentum(0.99, 100, 200) == pytest.approx(0.995)
    assert 1 - target_momentum(0.99, 199, 200) == pytest.approx(6e-7, rel=0.03)


def test_networks_and_penalty():
    context = TrainingContext(images=512, image_size=224, steps_per_epoch=1, seed=0)
    with torch.random.fork_rng():
        task = BYOL(BYOLOptions(), context)
    shapes = [tuple(parameter.shape) for parameter in task.online[1].parameters()]
    assert shapes == [(1024, 512), (1024,), (1024,), (1024,), (128, 1024), (128,)]
    shapes = [tuple(parameter.shape) for parameter in task.predictor.parameters()]
    assert shapes == [(1024, 128), (1024,), (1024,), (1024,), (128, 1024), (128,)]
    assert torch.equal(values(task.online), values(task.target))
    (group,) = task.param_groups()
    assert group["weight_decay"] == 1e-6
    assert len(group["params"]) == len(list(task.online.parameters())) + 6


def test_the_penalty_of_adam_is_part_of_the_gradient(task: Recorded):
    """Ten steps of Adam with an L2 penalty added to the gradient, in float64."""
    options = BYOLOptions.model_validate({"optimizer": {"lr": 2e-3, "weight_decay": 0.1}}).optimizer
    parameter = nn.Parameter(torch.linspace(-1, 1, 7, dtype=torch.float64))
    expected, mean, square = parameter.detach().clone(), torch.zeros(7), torch.zeros(7)

    class Task:
        def param_groups(self) -> Any:
            return [{"params": [parameter], "weight_decay": options.weight_decay}]

    optimizer = build_optimizer(Task(), options)
    for step in range(1, 11):
        optimizer.zero_grad()
        (parameter**3).sum().backward()
        optimizer.step()
        gradient = 3 * expected**2 + 0.1 * expected
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient**2
        unbiased = mean / (1 - 0.9**step), square / (1 - 0.999**step)
        expected = expected - 2e-3 * unbiased[0] / (unbiased[1].sqrt() + 1e-8)
        assert torch.allclose(parameter.detach(), expected, rtol=1e-9)
