"""Hours from records and from timing runs: what is counted, at which batch, and that it runs."""

from __future__ import annotations

import math
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from tests.conftest import tiny

from backbench.benchmark.config import load_benchmark
from backbench.benchmark.planning import make_plan
from backbench.errors import StageError
from backbench.estimate import timing
from backbench.estimate.cost import Costs, Seen, Training, costs_of
from backbench.estimate.hours import hours_of
from backbench.estimate.timing import Clock, first_batch, images_per_second, measure
from backbench.options.backbones import BackboneOptions
from backbench.plugin.registry import load_registry
from backbench.report.plan import hour_lines, in_hours
from backbench.store.store import Store
from backbench.training.devices import Device

TWO = (Device("cpu", (0,)), Device("cpu", (0,)))


@pytest.fixture
def costs(tmp_path: Path) -> Costs:
    path = tmp_path / "b.toml"
    path.write_text(tiny(), encoding="utf-8")
    registry = load_registry()
    benchmark = load_benchmark(path, registry)
    plan = make_plan(benchmark, {"drawn": "content"})
    return costs_of(plan, benchmark, registry, Store(tmp_path / "store"))


@pytest.fixture
def ten_a_second(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let every method train ten images a second; return the names of those that are timed."""
    timed: list[str] = []

    def measured(trainings: list[Training], *_: object) -> list[timing.Timing]:
        timed.extend(one.name for one in trainings)
        return [timing.Timing(10.0, "measured") for _ in trainings]

    monkeypatch.setattr("backbench.estimate.hours.measure", measured)
    return timed


def test_hours_are_images_over_speed_and_workers(costs: Costs, ten_a_second: list[str]) -> None:
    hours = hours_of(costs, TWO, tell=print)
    assert ten_a_second == ["moco-v2", "distill", "rotnet"]
    images = 2 * 2 * 96 + 2 * 2 * 96 + 4 * 2 * 48  # trainings × epochs × images
    assert hours.total == pytest.approx(images / 10 / 3600 / 2)
    text = "\n".join(hour_lines(hours))
    assert "rotnet: measured: 384 images at 10 a second: 38 s" in text
    assert "on this machine, 2 stages at a time: about 58 s" in text
    assert "no such record: dataset embedded, features, " in text


def test_records_come_before_a_timing_run(costs: Costs, ten_a_second: list[str]) -> None:
    sort = costs.by_method()["moco-v2"][0].sort
    features = next(key for key, one in costs.stages.items() if one.kind == "features")
    three = (("cpu", 0.4), ("cuda", 9.0), ("cpu", 0.5), ("cpu", 0.6))
    seen = {sort: Seen(1, three), costs.sorts[features]: Seen(1, (("cpu", 8.0),))}
    hours = hours_of(replace(costs, seen=seen), TWO[:1], tell=print)
    assert ten_a_second == ["distill", "rotnet"]
    works = {work.name: work for work in hours.works if work.seconds is not None}
    assert works["moco-v2"].seconds == pytest.approx(0.5 * 2 * 2 * 96)
    assert works["moco-v2"].how == "3 records of this store"
    assert works["features"].seconds == 8.0 * works["features"].stages
    assert hours.total * 3600 == pytest.approx(sum(one.seconds or 0 for one in works.values()))


def test_the_clock_leaves_the_first_steps_out() -> None:
    times = iter([100.0, 102.0, 103.0, 104.5])
    clock = Clock(8, 4.0, lambda: next(times))
    clock(1, 99, {})
    with pytest.raises(StageError, match="before its second progress report"):
        clock.speed()
    for done in (3, 4):
        clock(done, 99, {})
    clock(4, 99, {"loss": 1.0})  # the epoch's end, reported again
    with pytest.raises(timing.Enough):
        clock(6, 99, {})
    assert clock.speed() == 8 * 5 / 4.5


def test_a_batch_is_halved_as_long_as_its_groups_stand_apart(costs: Costs) -> None:
    one = costs.by_method()["moco-v2"][0]
    options = one.options.model_copy(update={"batch_size": 256, "norm_groups": 4})
    views = one.options.views.model_copy(update={"size": 224})  # type: ignore[attr-defined]
    small = replace(one, options=options)
    large = replace(one, options=options.model_copy(update={"views": views}))
    cifar = replace(small, backbone=BackboneOptions(stem="cifar"))
    assert first_batch(large, "cpu") == 8
    assert first_batch(large, "cuda:0") == 256
    assert first_batch(small, "cpu") == 256
    assert first_batch(cifar, "cpu") == 16
    odd = large.options.model_copy(update={"batch_size": 250})
    assert first_batch(replace(large, options=odd), "cpu") == 250


@pytest.mark.parametrize("name", ["moco-v2", "rotnet", "distill"])
@pytest.mark.parametrize("size", [(32, 32), None], ids=["uniform", "files"])
def test_a_timing_run_trains(
    costs: Costs, name: str, size: tuple[int, int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backbench.training.loop.PROGRESS_INTERVAL_S", 0.0)
    one = costs.by_method()[name][0]
    views = one.options.views.model_copy(update={"size": 32})  # type: ignore[attr-defined]
    options = one.options.model_copy(update={"views": views})
    training = replace(one, metadata=replace(one.metadata, size=size), options=options)
    speed = images_per_second(training, "cpu", 0.0)
    assert math.isfinite(speed)
    assert speed > 0


def test_all_places_train_at_once_each_on_its_cores(
    costs: Costs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "images_per_second", where)
    one = costs.by_method()["rotnet"][0]
    told: list[str] = []
    (found,) = measure([one], TWO, told.append)
    assert told == ["timing rotnet …"]
    assert found == timing.Timing(1.0, "measured in 2 processes on cpu")


def where(_training: Training, _device: str, _seconds: float) -> float:
    """Return the number of cores of this process, if it is pinned to its core."""
    time.sleep(0.1)
    pinned = not hasattr(os, "sched_getaffinity") or os.sched_getaffinity(0) == {0}
    return 1.0 if pinned else math.nan


def test_a_method_that_fails_is_left_out_of_the_hours(
    costs: Costs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "images_per_second", fails)
    key = next(key for key, one in costs.trainings.items() if one.name == "rotnet")
    one = replace(costs, stages={key: costs.stages[key]})
    hours = hours_of(one, TWO[:1], tell=print)
    assert hours.total == 0
    assert hours.left_out == ("rotnet",)
    assert "rotnet: could not be measured: no kernel" in "\n".join(hour_lines(hours))


def fails(*_arguments: object) -> float:
    raise RuntimeError("no kernel\nand much more")


@pytest.mark.parametrize(
    ("hours", "text"),
    [(0.003, "11 s"), (0.07, "4 min"), (2.31, "2.3 h"), (1250.4, "1,250 h"), (10.2, "10 h")],
)
def test_hours(hours: float, text: str) -> None:
    assert in_hours(hours) == text
