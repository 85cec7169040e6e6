"""How often things are read, hashed and asked as a matrix grows: counted, never timed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conftest import tiny
from tests.predictions import predicted_store

from backbench import model
from backbench.benchmark import planning
from backbench.benchmark.config import Benchmark, load_benchmark
from backbench.benchmark.instances import Instance
from backbench.execution.scheduler import Queue
from backbench.model import Plan, Stage, StageKind
from backbench.plugin.registry import Registry, load_registry
from backbench.report.board import board_of
from backbench.report.tables import as_json
from backbench.results import reader
from backbench.results.leaderboard import COLUMNS, Leaderboard, Row
from backbench.results.ranking import ranks
from backbench.results.statistics import Sample, Summary, paired
from backbench.store import store_folder
from backbench.store.store import Store
from backbench.verification.store_check import verify_store


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry()


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory: pytest.TempPathFactory, registry: Registry) -> Benchmark:
    file = tmp_path_factory.mktemp("growth") / "b.toml"
    file.write_text(tiny().replace("seeds = [0]", "seeds = [0, 1, 2]"), encoding="utf-8")
    return load_benchmark(file, registry)


def predict(stage: Stage, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(int(stage.key[:8], 16))
    wrong = rng.random((2, len(labels))) < 0.3
    clean, triggered = np.where(wrong, rng.integers(0, 4, wrong.shape), labels)
    return clean, triggered


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory, benchmark: Benchmark) -> tuple[Store, Plan]:
    root = tmp_path_factory.mktemp("growth") / "store"
    made = predicted_store(root, benchmark, predict)
    return Store(root), made


def counted(
    monkeypatch: pytest.MonkeyPatch, where: object, name: str, key: Callable[..., Any]
) -> Counter[Any]:
    calls: Counter[Any] = Counter()
    real = getattr(where, name)

    def wrapper(*arguments: Any, **named: Any) -> Any:
        calls[key(*arguments)] += 1
        return real(*arguments, **named)

    monkeypatch.setattr(where, name, wrapper)
    return calls


def test_a_plan_hashes_each_stage_and_reads_each_instance_once(
    monkeypatch: pytest.MonkeyPatch, benchmark: Benchmark
) -> None:
    hashed = counted(monkeypatch, model, "key_of", lambda *fields: str(fields))
    used = counted(monkeypatch, Instance, "use", lambda instance: instance.path)
    made = planning.make_plan(benchmark, {"drawn": "content"})
    assert sum(hashed.values()) == len(made.stages)
    assert set(used.values()) == {1}
    assert all(key == stage.key for key, stage in made.stages.items())


def test_a_leaderboard_reads_each_file_once(
    monkeypatch: pytest.MonkeyPatch, registry: Registry, plan: tuple[Store, Plan]
) -> None:
    where, made = plan
    records = counted(monkeypatch, store_folder, "_read_json", lambda path: Path(path).stem)
    predictions = counted(
        monkeypatch,
        reader,
        "read_predictions",
        lambda path, variant: (Path(path).parent.name, variant),
    )
    board = board_of(registry, made, where)
    evaluations = {key for key, one in made.stages.items() if one.kind is StageKind.PREDICT}
    assert all(row.values for row in board.rows)
    poisons = {key for key, one in made.stages.items() if one.kind is StageKind.POISON}
    assert evaluations <= set(records) <= evaluations | poisons
    assert set(records.values()) == {1}
    assert {key for key, _ in predictions} == evaluations
    assert set(predictions.values()) == {1}


def test_a_leaderboard_keeps_few_records_and_outcomes(
    monkeypatch: pytest.MonkeyPatch, registry: Registry, plan: tuple[Store, Plan]
) -> None:
    where, made = plan
    with_much = as_json(board_of(registry, made, where))
    monkeypatch.setattr(reader, "_AT_HAND", 1)
    monkeypatch.setattr("backbench.results.outdated._AT_HAND", 1)
    assert as_json(board_of(registry, made, where)) == with_much


def test_a_record_that_was_deleted_is_missing(
    tmp_path: Path, registry: Registry, benchmark: Benchmark
) -> None:
    made = predicted_store(tmp_path / "store", benchmark, predict)
    where = Store(tmp_path / "store")
    before = board_of(registry, made, where)
    cell = made.cells[0]
    where.forget(cell.evaluation)
    after = board_of(registry, made, where)
    names = {field: getattr(cell.name, field) for field in ("method", "attack", "defense")}
    changed = [
        (one, other)
        for one, other in zip(before.rows, after.rows, strict=True)
        if one.seeds != other.seeds
    ]
    assert changed
    for one, other in changed:
        assert names.items() <= one.names.items()
        assert set(one.seeds) - set(other.seeds) == {cell.name.seed}


def test_verification_lists_the_store_once(
    monkeypatch: pytest.MonkeyPatch, registry: Registry, plan: tuple[Store, Plan]
) -> None:
    where, made = plan
    listed = counted(monkeypatch, Store, "recorded", lambda _store: None)
    assert verify_store(where, registry, made).checked == len(made.stages)
    assert sum(listed.values()) == 1


# -- the scheduler's queue ---------------------------------------------------------------------


class Counting(Mapping[str, Stage]):
    """Stages that count how often one is looked at."""

    def __init__(self, stages: dict[str, Stage]) -> None:
        self.stages = stages
        self.asked = 0

    def __getitem__(self, key: str) -> Stage:
        self.asked += 1
        return self.stages[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.stages)

    def __len__(self) -> int:
        return len(self.stages)


def graph(count: int, seed: int) -> dict[str, Stage]:
    """Stages of which each reads up to three of those before it."""
    rng = np.random.default_rng(seed)
    found: dict[str, Stage] = {}
    for number in range(count):
        read = rng.choice(number, min(number, int(rng.integers(0, 4))), replace=False)
        inputs = {f"input{at}": f"{one:04d}" for at, one in enumerate(read)}
        found[f"{number:04d}"] = Stage(StageKind.FEATURES, None, None, inputs=inputs)
    return found


def ready(stages: dict[str, Stage], waiting: list[str], done: set[str], lost: set[str]) -> list:
    """Return what is ready, by looking at all that waits: the definition."""
    found = []
    for key in list(waiting):
        inputs = set(stages[key].inputs.values())
        if inputs & lost:
            lost.add(key)
            waiting.remove(key)
        elif inputs <= done:
            found.append(key)
    return found


@pytest.mark.parametrize("seed", range(8))
def test_the_queue_gives_what_the_definition_gives(seed: int) -> None:
    stages = graph(60, seed)
    rng = np.random.default_rng(seed + 100)
    done = {"0000", "0001"}
    waiting = [key for key in stages if key not in done]
    counting = Counting(stages)
    queue = Queue(counting, waiting, done)
    asked = counting.asked
    given_up: list[str] = []
    lost: set[str] = set()
    while queue.left:
        wanted = ready(stages, waiting, done, lost)
        assert queue.first() == wanted[0]
        queue.take()
        waiting.remove(wanted[0])
        if rng.random() < 0.05:
            before = set(waiting)
            lost.add(wanted[0])
            ready(stages, waiting, done, lost)
            found = queue.lost(wanted[0])
            assert found == sorted(before - set(waiting))
            given_up += found
        else:
            done.add(wanted[0])
            queue.done(wanted[0])
    assert not waiting
    assert len(given_up) == len(set(given_up))
    assert asked == counting.asked == len(stages) - 2  # each was looked at once


# -- statistics --------------------------------------------------------------------------------


def row(mean: float, half: float | None) -> Row:
    names = dict.fromkeys(("dataset", "method", "attack", "defense", "evaluator"), "one")
    ends = None if half is None else (mean - half, mean + half)
    summary = Summary(2, mean, 0.1, ends, (mean, mean), "seeds")
    return Row(names, (0, 1), 2, {"asr": summary}, {}, {})


@pytest.mark.parametrize("seed", range(4))
def test_ranks_are_one_and_the_number_of_rows_ahead(seed: int) -> None:
    rng = np.random.default_rng(seed)
    means = [*rng.integers(0, 20, 40) / 20, float("nan"), 0.5, 0.5]
    halves: list[float | None] = [*rng.integers(0, 4, 40) / 20, 0.1, None, float("inf")]
    board = Leaderboard("b", COLUMNS, tuple(map(row, means, halves)))
    known = {
        at: (-m - h, -m + h)
        for at, (m, h) in enumerate(zip(means, halves, strict=True))
        if h is not None
    }
    wanted = {
        at: 1 + sum(low > high for low, _ in known.values()) for at, (_, high) in known.items()
    }
    assert ranks(board)["asr"] == wanted


def test_paired_takes_the_seeds_that_both_have_in_the_first_ones_order() -> None:
    one = Sample((3, 1, 2), (0.3, 0.1, 0.2), np.array([[3], [1], [2]], np.int8), np.arange(1))
    other = Sample((1, 3, 4), (1.0, 3.0, 4.0), np.array([[1], [0], [4]], np.int8), np.arange(1))
    found = paired(one, other)
    assert found.seeds == (3, 1)
    assert found.values == pytest.approx((-2.7, -0.9))
    assert found.hits is not None
    assert found.hits.tolist() == [[3], [0]]
