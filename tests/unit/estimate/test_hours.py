"""Hours from records, and from trials: what is counted, at which batch, and that it runs."""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from tests.conftest import tiny
from tests.factories import record

from backbench.benchmark.config import load_benchmark
from backbench.benchmark.planning import make_plan
from backbench.estimate import hours as module
from backbench.estimate import timing as trial
from backbench.estimate.cost import Costs, Training, costs_of
from backbench.estimate.hours import Hours, hours_of, in_hours, print_hours
from backbench.estimate.timing import Speed, try_out
from backbench.model import Plan, StageKind
from backbench.options.training import BackboneOptions
from backbench.plugin.registry import Registry, load_registry
from backbench.store import provenance
from backbench.store.store import Store


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry()


@pytest.fixture
def planned(tmp_path: Path, registry: Registry) -> tuple[Plan, Costs]:
    path = tmp_path / "b.toml"
    path.write_text(tiny(), encoding="utf-8")
    benchmark = load_benchmark(path, registry)
    plan = make_plan(benchmark, {"drawn": "content"})
    return plan, costs_of(plan, benchmark, registry)


def named(costs: Costs, name: str) -> list[tuple[str, Training]]:
    return [(key, one) for key, one in costs.trainings.items() if one.name == name]


def finished(store: Store, key: str, wall_s: float, *, resumed: int = 0, **made: object) -> None:
    finished_here = record(
        key,
        StageKind.PRETRAIN,
        resumed=resumed,
        provenance={"device": "cpu", "processor": provenance.processor(), **made},
        wall_s=wall_s,
    )
    with store.writing(key) as folder:
        store.publish(folder, finished_here)


@pytest.fixture
def no_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(training: Training, _registry: Registry, _device: str) -> Speed:
        return Speed(10.0, 1.0, "cpu (1 thread)", "measured here")

    monkeypatch.setattr(module, "try_out", measured)


@pytest.mark.usefixtures("no_trial")
def test_hours_are_images_over_speed(
    planned: tuple[Plan, Costs], registry: Registry, tmp_path: Path
) -> None:
    _, costs = planned
    told: list[str] = []
    hours = hours_of(costs, Store(tmp_path / "store"), registry, "cpu", tell=told.append)
    assert told == ["measuring moco-v2 …", "measuring distill …", "measuring rotnet …"]
    images = 2 * 2 * 96 + 2 * 2 * 96 + 4 * 2 * 48  # trainings × epochs × images
    assert hours.total == pytest.approx(images / 10 / 3600)


@pytest.mark.usefixtures("no_trial")
def test_records_of_this_machine_come_before_a_trial(
    planned: tuple[Plan, Costs], registry: Registry, tmp_path: Path
) -> None:
    _, costs = planned
    store = Store(tmp_path / "store")
    store.prepare()
    (moco, _), (rotnet, _) = named(costs, "moco-v2")[0], named(costs, "rotnet")[0]
    (distilled, _), *_ = named(costs, "distill")
    finished(store, moco, wall_s=4.0)
    finished(store, rotnet, wall_s=4.0, processor="another machine's")
    finished(store, distilled, wall_s=0.1, resumed=1)  # the seconds of its last epoch alone
    hours = hours_of(costs, store, registry, "cpu", tell=lambda _: None)
    speeds = {work.name: (work.speed, len(work.trainings)) for work in hours.works}
    speed, left = speeds["moco-v2"]
    assert speed is not None
    assert speed.images_per_s == 2 * 96 / 4
    assert speed.how == "1 record of this store"
    assert left == 1
    speed, left = speeds["rotnet"]
    assert speed is not None
    assert speed.how == "measured here"
    assert left == 1
    speed, _ = speeds["distill"]
    assert speed is not None
    assert speed.how == "measured here"


def test_trainings_that_differ_in_length_alone_are_of_one_sort(
    planned: tuple[Plan, Costs],
) -> None:
    _, costs = planned
    _, one = named(costs, "distill")[0]
    longer = replace(one, options=one.options.model_copy(update={"epochs": 9}))
    fewer = replace(one, options=one.options.model_copy(update={"clean_fraction": 0.1}))
    wider = replace(one, options=one.options.model_copy(update={"queue": 32}))
    sorts = [module._sort(each) for each in (one, longer, fewer, wider)]
    assert sorts[0] == sorts[1] == sorts[2] != sorts[3]


def test_the_clock_leaves_the_first_steps_out(monkeypatch: pytest.MonkeyPatch) -> None:
    times: Iterator[float] = iter([100.0, 102.0, 103.0, 104.5, 105.0])
    monkeypatch.setattr(trial.time, "perf_counter", lambda: next(times))
    clock = trial._Clock(batch=8)
    for done in (1, 3, 4):
        clock(done, 99, {})
    clock(4, 99, {"loss": 1.0})  # the epoch's end, told again: no part of its own
    with pytest.raises(trial._Enough):
        clock(6, 99, {})
    speed = clock.speed("cpu", wanted=256)
    assert speed.images_per_s == 8 * 5 / 4.5
    assert speed.spread == pytest.approx(np.std([8, 8, 8 * 2 / 1.5], ddof=1))
    assert speed.detail == ", 3 timed in 4 s, batches of 8 for 256"


def test_a_slow_trial_ends_after_one_part(monkeypatch: pytest.MonkeyPatch) -> None:
    times = itertools.count(0.0, 40.0)
    monkeypatch.setattr(trial.time, "perf_counter", lambda: next(times))
    clock = trial._Clock(batch=8)
    clock(1, 99, {})
    with pytest.raises(trial._Enough):
        clock(2, 99, {})
    assert clock.speed("cpu", 8).spread is None


def test_a_batch_is_halved_as_long_as_its_groups_stand_apart(planned: tuple[Plan, Costs]) -> None:
    _, costs = planned
    _, one = named(costs, "moco-v2")[0]
    options = one.options.model_copy(update={"batch_size": 256, "norm_groups": 4})
    views = one.options.views.model_copy(update={"size": 224})  # type: ignore[attr-defined]
    small = replace(one, options=options)
    large = replace(one, options=options.model_copy(update={"views": views}))
    cifar = replace(small, backbone=BackboneOptions(stem="cifar"))
    assert trial._first_batch(large, "cpu") == 8
    assert trial._first_batch(large, "cuda:0") == 256
    assert trial._first_batch(small, "cpu") == 256
    assert trial._first_batch(cifar, "cpu") == 16
    assert trial._halved(options, 8) == 8
    assert trial._halved(options, 250) == 250


@pytest.mark.parametrize("name", ["moco-v2", "rotnet", "distill"])
@pytest.mark.parametrize("size", [(32, 32), None], ids=["uniform", "files"])
def test_a_trial_trains(
    planned: tuple[Plan, Costs],
    registry: Registry,
    name: str,
    size: tuple[int, int] | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trial, "TRIAL_S", 0.0)
    monkeypatch.setattr(trial, "PARTS", 1)
    monkeypatch.setattr("backbench.training.loop.PROGRESS_INTERVAL_S", 0.0)
    _, costs = planned
    _, one = named(costs, name)[0]
    views = one.options.views.model_copy(update={"size": 32})  # type: ignore[attr-defined]
    options = one.options.model_copy(update={"views": views})
    training = replace(one, metadata=replace(one.metadata, size=size), options=options)
    speed = try_out(training, registry, "cpu")
    assert math.isfinite(speed.images_per_s)
    assert speed.images_per_s > 0
    assert speed.where.startswith("cpu (")


def test_a_checkpoint_holds_weights_queue_and_momentum(
    planned: tuple[Plan, Costs], registry: Registry
) -> None:
    plan, costs = planned
    key, one = named(costs, "moco-v2")[0]
    assert plan.stages[key].kind == StageKind.PRETRAIN
    size = trial.checkpoint_bytes(one, registry)
    encoder = 293_368 // 4  # floats, near enough: batch norms count in whole numbers too
    head = 64 * 128 + 128 + 128 * 64 + 64
    queue = 64 * 64
    networks_and_momentum = 3 * (encoder + head)
    assert size == pytest.approx(4 * (networks_and_momentum + queue), rel=0.02)


def test_what_cannot_be_measured_is_told(
    planned: tuple[Plan, Costs],
    registry: Registry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(*_arguments: object) -> Speed:
        raise RuntimeError("no kernel\nand much more")

    monkeypatch.setattr(module, "try_out", fails)
    _, costs = planned
    hours = hours_of(costs, Store(tmp_path / "s"), registry, "cpu", tell=lambda _: None)
    assert hours.total == 0
    assert {work.problem for work in hours.works} == {"could not be measured: no kernel"}
    text = printed(hours)
    assert "rotnet: could not be measured: no kernel" in text
    assert hours.as_json()["trainings"][0]["hours"] is None


@pytest.mark.usefixtures("no_trial")
def test_what_is_printed(planned: tuple[Plan, Costs], registry: Registry, tmp_path: Path) -> None:
    _, costs = planned
    hours = hours_of(costs, Store(tmp_path / "s"), registry, "cpu", tell=lambda _: None)
    text = printed(hours)
    assert "rotnet: measured here: 10 ±1 images/s on cpu (1 thread); 384 images: 1 min" in text
    assert "on this machine, one training at a time: about 2 min" in text
    assert "left out of the hours" in text


def printed(hours: Hours) -> str:
    out = io.StringIO()
    print_hours(hours, Console(file=out, width=200))
    return out.getvalue()


@pytest.mark.parametrize(
    ("hours", "text"), [(0.07, "4 min"), (2.31, "2.3 h"), (1250.4, "1,250 h"), (10.2, "10 h")]
)
def test_hours(hours: float, text: str) -> None:
    assert in_hours(hours) == text
