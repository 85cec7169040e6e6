"""The remaining time of the demo by a simulated clock, over recorded times of its stages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import cycle
from pathlib import Path

import pytest

from backbench.api import load
from backbench.execution.scheduler import Queue
from backbench.model import Plan
from backbench.report.progress.remaining import LONG, Remaining

FILE = Path(__file__).parents[3] / "benchmarks.toml"

#: Core seconds by kind and plugin, recorded on a machine with two busy cores: BYOL, distillation,
#: RotNet and the rest. MoCo v2 takes as much of BYOL as its passes; Jigsaw's are varied below.
RECORDED = {
    "dataset embedded": 0.6,
    "poison patch": 0.86,
    "pretrain byol": 304.0,
    "pretrain moco-v2": 215.0,
    "pretrain rotnet": 125.0,
    "repair distill": 69.0,
    "features ": 0.31,
    "fit linear": 0.72,
    "fit knn": 0.05,
    "predict linear": 0.04,
    "predict knn": 0.03,
}

#: Core seconds and wall seconds of four BYOL trainings of equal work, by their mean: recorded while
#: other processes shared the cores. With one slot and the slowest wall first, the estimate after a
#: tenth is 33 % too long: only that training is known then.
CORE_FACTORS = (0.94, 1.03, 1.10, 0.93)
WALL_FACTORS = (1.02, 0.74, 1.04, 1.20)


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return load(FILE, profile="quick").plan(store=tmp_path_factory.mktemp("x") / "store").plan


def estimates(plan: Plan, times: Mapping[str, float], slots: int) -> Iterator[tuple[float, float]]:
    """Run a plan by a clock that only this function moves; yield the time and the estimate."""
    queue = Queue(plan.stages, list(plan.stages), set())
    remaining = Remaining(plan.stages.values(), slots)
    running: dict[str, tuple[float, float]] = {}
    now = 0.0
    while queue.left or running:
        while len(running) < slots and (key := queue.first()) is not None:
            queue.take()
            running[key] = now, now + times[key]
            remaining.started(plan.stages[key], now)
        ended = min(running, key=lambda key: running[key][1])
        while now + 1 < running[ended][1]:  # trainings report every second
            now += 1
            for key, (began, end) in running.items():
                if plan.stages[key].kind in LONG:
                    share = (now - began) / (end - began)
                    remaining.progressed(plan.stages[key], share, now)
            yield now, remaining.seconds(now)
        now = running.pop(ended)[1]
        remaining.ended(plan.stages[ended], now)
        queue.done(ended)
        yield now, remaining.seconds(now)


@pytest.mark.parametrize("slots", [1, 2])
@pytest.mark.parametrize("jigsaw", [60.0, 170.0, 300.0])
def test_after_a_tenth_it_is_within_30_percent_of_what_it_was(
    plan: Plan, jigsaw: float, slots: int
) -> None:
    seconds = RECORDED | {"pretrain jigsaw": jigsaw}
    times = {
        key: seconds[f"{stage.kind} {stage.plugin.name if stage.plugin else ''}"]
        for key, stage in plan.stages.items()
    }
    found = list(estimates(plan, times, slots))
    total = found[-1][0]
    later = [(now, left) for now, left in found if now >= total / 10]
    assert later[0][1] == pytest.approx(total - later[0][0], rel=0.3)
    for now, left in later:
        assert now + left == pytest.approx(total, rel=0.3)
    assert found[-1][1] == 0


@pytest.mark.parametrize("first", range(4))
@pytest.mark.parametrize(
    ("factors", "slots"),
    [(CORE_FACTORS, 1), (CORE_FACTORS, 2), (WALL_FACTORS, 2)],
    ids=["core-1", "core-2", "wall-2"],
)
def test_trainings_of_equal_work_may_take_unequally_long(
    plan: Plan, factors: tuple[float, ...], first: int, slots: int
) -> None:
    seconds = RECORDED | {"pretrain jigsaw": 170.0}
    recorded = cycle((*factors[first:], *factors[:first]))
    times = {
        key: seconds[f"{stage.kind} {stage.plugin.name if stage.plugin else ''}"]
        * (next(recorded) if stage.kind in LONG else 1.0)
        for key, stage in plan.stages.items()
    }
    found = list(estimates(plan, times, slots))
    total = found[-1][0]
    now, left = next(one for one in found if one[0] >= total / 10)
    assert left == pytest.approx(total - now, rel=0.3)
