"""A poison that has changed since it was made stops the stages that read it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import tiny

from backbench.benchmark.config import load_benchmark
from backbench.benchmark.planning import make_plan
from backbench.errors import StageError
from backbench.model import NONE, Plan, Stage, StageKind
from backbench.plugin.registry import load_registry
from backbench.stages.run import run_stage
from backbench.store.store import Store

Change = Callable[[Store, str], None]


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """Return a plan of one method under one attack, and of its control."""
    path = tmp_path_factory.mktemp("plan") / "b.toml"
    start, _, _ = tiny().partition("[defenses")
    matrix = '[[matrix]]\ndatasets = "drawn"\nattacks = "targeted"\nmethods = "rotnet"\n'
    path.write_text(start + matrix + 'evaluators = ["knn"]\n', encoding="utf-8")
    return make_plan(load_benchmark(path, load_registry()), {"drawn": "content"})


@pytest.fixture(scope="module")
def made(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store with all stages of the plan."""
    store = Store(tmp_path_factory.mktemp("made") / "store")
    store.prepare()
    for stage in plan.stages.values():
        run_stage(stage, store, load_registry(), "cpu", lambda *_: None)
    return store.root


@pytest.fixture
def store(made: Path, tmp_path: Path) -> Store:
    """Return a copy of that store, to be damaged."""
    shutil.copytree(made, tmp_path / "store")
    return Store(tmp_path / "store")


def stages(plan: Plan, kind: StageKind) -> list[Stage]:
    return [stage for stage in plan.stages.values() if stage.kind is kind]


def poisoned(plan: Plan, kind: StageKind) -> Stage:
    return next(stage for stage in stages(plan, kind) if "poison" in stage.inputs)


def again(store: Store, stage: Stage) -> None:
    store.forget(stage.key)
    run_stage(stage, store, load_registry(), "cpu", lambda *_: None)


def changed(store: Store, key: str, **metadata: Any) -> None:
    """Change what the record of a stage says."""
    path = store.root / "records" / f"{key}.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["metadata"] |= metadata
    path.write_text(json.dumps(content), encoding="utf-8")


def without_a_line(split: str) -> Change:
    def change(store: Store, key: str) -> None:
        path = store.artifact(key) / f"{split}.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        path.write_text("".join(lines[1:]), encoding="utf-8")

    return change


def of_another_class(store: Store, key: str) -> None:
    path = store.artifact(key) / "train.jsonl"
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    lines[0]["label"] = 3
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def with_an_untouched_image(store: Store, key: str) -> None:
    path = store.artifact(key) / "train.jsonl"
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    own = {line["index"] for line in lines}
    lines[0] |= {"index": next(index for index in range(96) if index not in own)}
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without_a_line("train"), r"lists 23 poisoned images, .* announce 24 of 96"),
        (of_another_class, "train.jsonl gives images other classes than the dataset"),
        (with_an_untouched_image, "the poisoned images are not those that train.jsonl lists"),
        (lambda store, key: changed(store, key, target=1), r"target 1 \(.*options mean 0 \("),
        (lambda store, key: changed(store, key, target_name="no"), "calls class 0 'no', and its"),
        (lambda store, key: changed(store, key, poisons=25), "poisons = 25; .* it is 24"),
    ],
    ids=["line", "class", "image", "target", "name", "count"],
)
def test_a_changed_poison_is_not_trained_on(
    plan: Plan, store: Store, change: Change, said: str
) -> None:
    (poison,) = stages(plan, StageKind.POISON)
    change(store, poison.key)
    training = poisoned(plan, StageKind.PRETRAIN)
    with pytest.raises(StageError, match=said) as raised:
        again(store, training)
    assert str(raised.value).startswith("poison targeted · drawn · seed 0: ")
    advice = re.search(r"remove (\S+) and run again", str(raised.value))
    assert advice
    assert Path(advice[1]) == store.root / "records" / f"{poison.key}.json"
    assert store.record(training.key) is None


def test_the_advice_mends_it(plan: Plan, store: Store) -> None:
    (poison,) = stages(plan, StageKind.POISON)
    without_a_line("train")(store, poison.key)
    again(store, poison)  # its record is removed, and the run makes it anew
    again(store, poisoned(plan, StageKind.PRETRAIN))


def evaluation(plan: Plan) -> Stage:
    (cell,) = (one for one in plan.cells if one.name.attack != NONE)
    return plan.stages[cell.evaluation]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda store, key: changed(store, key, target=1),
            r"made for target 0 \(.*\), and its record says 1 \(",
        ),
        (without_a_line("val"), r"val.jsonl \(31 lines\) is not of the 32 images"),
    ],
    ids=["target", "manifest"],
)
def test_another_target_is_not_evaluated(
    plan: Plan, store: Store, change: Change, said: str
) -> None:
    (poison,) = stages(plan, StageKind.POISON)
    change(store, poison.key)
    with pytest.raises(StageError, match=said):
        again(store, evaluation(plan))


def test_a_target_that_is_changed_everywhere_is_not_the_options(plan: Plan, store: Store) -> None:
    (poison,) = stages(plan, StageKind.POISON)
    features = plan.stages[evaluation(plan).inputs["triggered"]]
    for one in (poison, features):
        changed(store, one.key, target=1)
    with pytest.raises(StageError, match=r"counted for 1 \(.*\), and the options of its attack"):
        again(store, evaluation(plan))
    with pytest.raises(StageError, match="the attack's options mean 0"):
        again(store, features)


def test_a_healthy_cell_has_no_flag(plan: Plan, made: Path) -> None:
    for key in plan.stages:
        record = Store(made).record(key)
        assert record is not None
        assert record.flags == ()
