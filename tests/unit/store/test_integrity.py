"""What is damaged in a store counts as not done, and is named with its remedy."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests import factories

from backbench.errors import StoreError
from backbench.execution.session import forget_damaged
from backbench.model import Plan, Stage, StageKind
from backbench.store.integrity import checked, damaged
from backbench.store.records import Record
from backbench.store.store import Store, hash_files
from backbench.system.seal import seal

KINDS = (StageKind.POISON, StageKind.PREDICT)
STAGES = {one.key: one for one in (Stage(kind, None, 0, label=kind.value) for kind in KINDS)}
KEY, OTHER = STAGES
PLAN = Plan("b", STAGES, ())


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Return a store with two stages."""
    made = Store(tmp_path / "store")
    made.prepare()
    for key, stage in STAGES.items():
        with made.writing(key) as folder:
            (folder / "file").write_text("content")
            made.publish(folder, factories.record(key, stage, files=hash_files(folder)))
    return made


def path(store: Store) -> Path:
    return store.root / "records" / f"{KEY}.json"


def as_text(text: str) -> Callable[[Store], object]:
    return lambda store: path(store).write_text(text)


def as_folder(store: Store) -> None:
    path(store).unlink()
    path(store).mkdir()


def as_link(store: Store) -> None:
    path(store).unlink()
    path(store).symlink_to("nowhere")


def of_another(store: Store) -> None:
    shutil.copy(path(store).with_name(f"{OTHER}.json"), path(store))


@pytest.mark.parametrize(
    ("harm", "word"),
    [
        (as_text(""), "cannot be read as a record"),
        (as_text("[" * 100_000), "nested too deeply"),
        (as_text('{"schema": 99}'), "schema 99, this backbench has"),
        (as_folder, "s a directory"),
        (as_link, "cannot be read"),
        (of_another, f"is the record of {OTHER}"),
        (lambda store: shutil.rmtree(store.artifact(KEY)), "No such file"),
        (lambda store: (store.artifact(KEY) / "file").unlink(), "No such file"),
        (lambda store: (store.artifact(KEY) / "file").write_text("part"), "has 4 bytes, and its"),
    ],
    ids=["empty", "deep", "newer", "folder", "link", "another", "artifact", "file", "size"],
)
def test_a_damaged_stage_is_named_and_made_again(
    store: Store, harm: Callable[[Store], object], word: str
) -> None:
    harm(store)
    found = damaged(store, PLAN.stages)
    assert list(found) == [KEY]
    assert word in found[KEY]
    assert KEY in found[KEY]
    assert (
        "run again" in found[KEY]
        or "`backbench run` makes it" in found[KEY]
        or ("`backbench run` makes its stage again" in found[KEY])
    )
    with store.running():
        assert forget_damaged(PLAN, store) == list(found.values())
        assert store.done() == {OTHER}
        with store.writing(KEY) as folder:
            (folder / "file").write_text("content")
            record = factories.record(KEY, STAGES[KEY], files=hash_files(folder))
            store.publish(folder, record)
    assert damaged(store, PLAN.stages) == {}
    assert store.done() == set(STAGES)
    assert len(list(path(store).parent.iterdir())) == 2


def test_without_artifacts_nothing_is_done(store: Store) -> None:
    shutil.rmtree(store.root / "artifacts")
    assert store.done() == set()
    assert damaged(store, PLAN.stages).keys() == STAGES.keys()


def test_a_record_that_is_put_aside_is_kept_until_its_stage_is_done(store: Store) -> None:
    text = path(store).read_text().replace('"schema": 2', '"schema": 99')
    path(store).write_text(text)
    forget_damaged(PLAN, store)
    assert path(store).with_suffix(".forgotten").read_text() == text
    assert (store.artifact(KEY).with_suffix(".forgotten") / "file").read_text() == "content"


def test_a_record_that_another_machine_has_just_written_is_waited_for(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = path(store).rename(store.root / "later")
    monkeypatch.setattr("time.sleep", lambda _: later.exists() and later.rename(path(store)))
    assert checked(store, KEY).key == KEY


def test_a_damaged_checkpoint_is_removed_and_named(store: Store) -> None:
    store.remove(KEY)
    checkpoint = store.checkpoint(KEY)
    checkpoint.parent.mkdir()
    checkpoint.write_text('{"sha256":"' + "0" * 64 + '", "weights": 1}')
    seal(checkpoint)
    assert forget_damaged(PLAN, store) == []
    checkpoint.write_text(checkpoint.read_text().replace("1}", "2}"))
    (note,) = forget_damaged(PLAN, store)
    assert note == f"{checkpoint}: is damaged and not used: its training starts anew"
    assert not checkpoint.exists()
    checkpoint.write_text("the own format of a defense")
    assert forget_damaged(PLAN, store) == []
    assert checkpoint.exists()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda one: one["metadata"].update(images=None), "images: Input should be a valid int"),
        (lambda one: one["metadata"].update(more=1), "more: Unexpected"),
        (lambda one: one.update(wall_s=None), "wall_s: Input should be a valid number"),
        (lambda one: one.update(wall_s=float("inf")), "wall_s: Input should be a finite number"),
        (lambda one: one.update(provenance=None), "provenance: Input should be"),
        (lambda one: one.update(files={"a": {}}), "describes no file below its artifact as 'a'"),
        (lambda one: one.pop("metadata"), "'metadata' is missing"),
        (lambda one: one["stage"].update(inputs=None), "stage.inputs: Input should be"),
        (lambda one: one["stage"].update(kind="x"), "'x' is not a valid StageKind"),
        (lambda one: one.update(stage=[]), "list indices must be"),
    ],
)
def test_a_record_with_a_field_of_another_type_is_refused(
    change: Callable[[dict[str, Any]], object], problem: str
) -> None:
    content = json.loads(json.dumps(factories.record(OTHER, STAGES[OTHER]).to_json()))
    change(content)
    with pytest.raises(ValueError, match=problem):
        Record.from_json(content)


def test_a_pipe_as_a_record_is_not_waited_for(store: Store) -> None:
    path(store).unlink()
    os.mkfifo(path(store))
    with pytest.raises(StoreError, match="not a regular file"):
        store.record(KEY)


@pytest.mark.parametrize("text", ["{}", "", "[" * 100_000, "[]"])
def test_a_failure_that_cannot_be_read_is_one(store: Store, text: str) -> None:
    store.remove(KEY)
    (store.root / "failures" / f"{KEY}.json").write_text(text)
    failure = store.failure(KEY)
    assert failure is not None
    assert failure["reason"].endswith(f"{KEY}.json: cannot be read: run again")
