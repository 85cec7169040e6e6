"""A poison that has changed since it was made stops the stages that read it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import tiny

from backbench.benchmark.config import load_benchmark
from backbench.benchmark.planning import make_plan
from backbench.errors import StageError, StoreError
from backbench.model import NONE, Plan, Stage, StageKind
from backbench.plugin.registry import load_registry
from backbench.stages.run import run_stage
from backbench.store.integrity import checked
from backbench.store.store import Store, hash_files
from backbench.system import files
from backbench.verification.store_check import verify_store

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


def rehash(store: Store, key: str) -> None:
    """Let the record of a stage agree with its files, as if the stage had written them so."""
    path = store.root / "records" / f"{key}.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["files"] = hash_files(store.artifact(key))
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
    rehash(store, poison.key)
    training = poisoned(plan, StageKind.PRETRAIN)
    with pytest.raises(StageError, match=said) as raised:
        again(store, training)
    assert str(raised.value).startswith("poison targeted · drawn · seed 0: ")
    assert f"`backbench run --redo {poison.key}` makes it again" in str(raised.value)
    assert store.record(training.key) is None


def test_a_poison_that_is_made_again_mends_it(plan: Plan, store: Store) -> None:
    (poison,) = stages(plan, StageKind.POISON)
    without_a_line("train")(store, poison.key)
    with pytest.raises(StoreError, match=r"train\.jsonl: not what its record says"):
        again(store, poisoned(plan, StageKind.PRETRAIN))
    again(store, poison)
    again(store, poisoned(plan, StageKind.PRETRAIN))


@pytest.mark.parametrize("kind", ["dataset", "poison", "pretrain", "features", "fit"])
def test_a_flipped_bit_of_an_input_stops_its_readers(plan: Plan, store: Store, kind: str) -> None:
    pairs = [
        (stage, reader)
        for stage in stages(plan, StageKind(kind))
        for reader in plan.stages.values()
        if stage.key in reader.inputs.values() and any(store.artifact(stage.key).iterdir())
    ]
    assert pairs or kind == "fit"  # k-NN stores no classifier
    for stage, reader in pairs:
        path = max(store.artifact(stage.key).iterdir(), key=lambda one: one.stat().st_size)
        whole = path.read_bytes()
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        with pytest.raises(StoreError, match=f"run --redo {stage.key}` makes it") as caught:
            run_stage(reader, store, load_registry(), "cpu", lambda *_: None)
        assert str(caught.value).startswith(f"{path}: not what its record says: ")
        path.unlink()
        with pytest.raises(StoreError, match=r"cannot be read .*run --redo"):
            run_stage(reader, store, load_registry(), "cpu", lambda *_: None)
        path.write_bytes(whole)


def test_a_poison_that_the_evaluation_looks_up_is_compared_with_its_record(
    plan: Plan, store: Store
) -> None:
    (poison,) = stages(plan, StageKind.POISON)
    path = store.artifact(poison.key) / "val.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace('"seed": ', '"seed":  ', 1))
    with pytest.raises(StoreError, match=r"val\.jsonl: not what its record says"):
        again(store, evaluation(plan))


def test_a_record_has_the_hashes_of_what_its_stage_read(plan: Plan, made: Path) -> None:
    store = Store(made)
    for key, stage in plan.stages.items():
        record = store.record(key)
        assert record is not None
        assert record.read == {
            role: {name: said["sha256"] for name, said in hash_files(store.artifact(one)).items()}
            for role, one in stage.inputs.items()
        }


def test_verify_names_what_was_made_of_an_input_that_was_made_again(
    plan: Plan, store: Store
) -> None:
    training = poisoned(plan, StageKind.PRETRAIN)
    path = store.artifact(training.key) / "encoder.json"
    path.write_text(path.read_text(encoding="utf-8") + " ", encoding="utf-8")
    rehash(store, training.key)  # another encoder, as its readers will see it
    readers = [one for one in plan.stages.values() if training.key in one.inputs.values()]
    for reader in readers:
        again(store, reader)
    again(store, training)
    found = verify_store(store, load_registry(), plan).differs
    found = [one for one in found if "was made of another" in one.message]
    assert len(found) == len(readers) == 2
    for reader in readers:
        (one,) = (one for one in found if reader.key in one.subject)
        assert f"another encoder.json than the encoder ({training.key}) has now" in one.message


def test_what_a_run_has_checked_is_not_hashed_again_by_its_workers(
    plan: Plan, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[Path] = []
    sha256 = files.sha256
    monkeypatch.setattr(files, "sha256", lambda path: hashed.append(path) or sha256(path))
    (dataset,) = stages(plan, StageKind.DATASET)
    with store.running():
        checked(store, dataset.key)
        first = len(hashed)
        checked(Store(store.root), dataset.key)  # as another worker does
        assert len(hashed) == first > 0
        path = store.artifact(dataset.key) / "index.json"
        content, status = path.read_bytes(), path.stat()
        path.write_bytes(content.replace(b"0", b"1", 1))
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # as a copying tool does
        with pytest.raises(StoreError, match="not what its record says"):
            checked(store, dataset.key)
        path.write_bytes(content)
    with store.running():
        hashed.clear()
        checked(store, dataset.key)
        assert len(hashed) == first


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
    rehash(store, poison.key)
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
