"""The learning rate of every epoch of the four pretrainings, against closed formulas."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

import backbench_ssl
from backbench.options.training import TrainingOptions

METHODS = {info.name: info for info in backbench_ssl.register_ssl_methods()}

#: Of ImageNet-100's 126,689 images; Jigsaw and RotNet keep the last, incomplete batch.
STEPS = {"moco-v2": 494, "byol": 247, "jigsaw": 495, "rotnet": 990}


def moco(epoch: int) -> float:
    return 0.03 * (1 + math.cos(math.pi * epoch / 200))


def byol(epoch: int) -> float:
    if epoch >= 175:
        return 8e-5
    return 4e-4 if epoch >= 150 else 2e-3


def jigsaw(epoch: int) -> float:
    for first, rate in ((100, 1e-6), (90, 1e-5), (60, 1e-4), (30, 1e-3)):
        if epoch >= first:
            return rate
    return 1e-2


def rotnet(epoch: int) -> float:
    for last, rate in ((30, 0.05), (60, 0.005), (90, 0.0005)):
        if epoch < last:
            return rate
    return 0.00005


PUBLISHED: dict[str, tuple[Callable[[int], float], int]] = {
    "moco-v2": (moco, 200),
    "byol": (byol, 200),
    "jigsaw": (jigsaw, 105),
    "rotnet": (rotnet, 105),
}


def preset(name: str) -> TrainingOptions:
    return METHODS[name].options.model_validate(METHODS[name].presets["saha2022"])


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_epoch(name: str):
    formula, epochs = PUBLISHED[name]
    options, steps = preset(name), STEPS[name]
    assert options.epochs == epochs
    for epoch in range(epochs):
        for place in (0, 1, steps // 2, steps - 1):
            step = epoch * steps + place
            if name == "byol" and step < 500:
                continue
            rate = options.learning_rate(step, steps)
            assert rate == pytest.approx(formula(epoch), rel=1e-9), (epoch, place)


def test_every_iteration_of_the_warm_up_of_byol():
    options = preset("byol")
    for step in range(500):
        expected = 2e-3 * (step + 1) / 500
        assert options.learning_rate(step, 247) == pytest.approx(expected, rel=1e-12)
    assert options.learning_rate(500, 247) == 2e-3


@pytest.mark.parametrize(
    ("name", "epoch", "rate"),
    [
        ("moco-v2", 0, 0.06), ("moco-v2", 100, 0.03), ("moco-v2", 199, 3.70e-6),
        ("byol", 149, 2e-3), ("byol", 150, 4e-4), ("byol", 199, 8e-5),
        ("jigsaw", 29, 1e-2), ("jigsaw", 30, 1e-3), ("jigsaw", 104, 1e-6),
        ("rotnet", 89, 5e-4), ("rotnet", 90, 5e-5), ("rotnet", 104, 5e-5),
    ],
)  # fmt: skip
def test_some_epochs_by_hand(name: str, epoch: int, rate: float):
    step = epoch * STEPS[name] + (STEPS[name] - 1 if name == "byol" else 0)
    assert preset(name).learning_rate(step, STEPS[name]) == pytest.approx(rate, rel=1e-3)
