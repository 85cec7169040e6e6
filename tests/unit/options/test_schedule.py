"""Against the published schedules, epoch by epoch."""

from __future__ import annotations

import math

import pytest

from backbench.options.training import TrainingOptions
from backbench_defenses.defense_options import DistillOptions
from backbench_ssl.method_options import BYOLOptions, JigsawOptions, MoCoOptions, RotNetOptions


def at_epoch(options: TrainingOptions, epoch: int, steps: int = 500) -> set[float]:
    """The rates of the first, a middle and the last step of an epoch."""
    first = epoch * steps
    return {options.learning_rate(first + i, steps) for i in (0, steps // 2, steps - 1)}


def test_moco_is_a_cosine_of_the_epoch():
    for epoch in range(200):
        (rate,) = at_epoch(MoCoOptions(), epoch)
        assert rate == pytest.approx(0.03 * (1 + math.cos(math.pi * epoch / 200)), rel=1e-12)
    assert rate == pytest.approx(3.70e-6, rel=1e-3)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            JigsawOptions(),
            {0: 1e-2, 29: 1e-2, 30: 1e-3, 60: 1e-4, 90: 1e-5, 99: 1e-5, 100: 1e-6, 104: 1e-6},
        ),
        (RotNetOptions(), {0: 0.05, 29: 0.05, 30: 5e-3, 59: 5e-3, 60: 5e-4, 90: 5e-5, 104: 5e-5}),
        (BYOLOptions(), {1: 2e-3, 149: 2e-3, 150: 4e-4, 174: 4e-4, 175: 8e-5, 199: 8e-5}),
        (DistillOptions(), {0: 1e-2, 89: 1e-2, 90: 2e-3, 120: 4e-4, 129: 4e-4}),
    ],
)
def test_steps(options: TrainingOptions, expected: dict[int, float]):
    for epoch, value in expected.items():
        (rate,) = at_epoch(options, epoch)
        assert rate == pytest.approx(value, rel=1e-9)


def test_byol_rises_over_500_steps():
    rates = [BYOLOptions().learning_rate(step, 247) for step in range(501)]
    assert rates[:500] == pytest.approx([2e-3 * (i + 1) / 500 for i in range(500)])
    assert rates[500] == 2e-3


def options(**schedule: object) -> TrainingOptions:
    return TrainingOptions.model_validate(
        {"epochs": 10, "optimizer": {"lr": 0.2}, "schedule": schedule}
    )


def test_cosine_of_the_step_begins_after_the_warm_up():
    chosen = options(name="cosine", per="step", warmup_epochs=2)
    rates = [chosen.learning_rate(step, 5) for step in range(50)]
    assert rates[:10] == pytest.approx([0.02 * (i + 1) for i in range(10)])
    assert rates[10:] == pytest.approx([0.1 * (1 + math.cos(math.pi * i / 40)) for i in range(40)])


def test_constant():
    assert {options(name="constant").learning_rate(step, 5) for step in range(50)} == {0.2}
