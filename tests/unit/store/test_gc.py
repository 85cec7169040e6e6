"""`store gc` removes what no stage needs, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests import factories
from tests.conftest import Bench

from backbench.model import Stage, StageKind
from backbench.store.store import Store, hash_files

STAGE = Stage(StageKind.PREDICT, None, 0)
OTHER = "f" * 32


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Return a store with a stage, and with all that may be left over."""
    made = Store(tmp_path / "store")
    made.prepare()
    with made.writing(STAGE.key) as folder:
        (folder / "file").write_text("content")
        made.publish(folder, factories.record(STAGE.key, STAGE, files=hash_files(folder)))
    for name in LEFT:
        path = made.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("12345")
    return made


LEFT = (
    f"artifacts/{OTHER}/file",
    f"checkpoints/{OTHER}.safetensors",
    f"checkpoints/.{OTHER}.safetensors.1.partial",
    f"building/{OTHER}/train.safetensors",
    f"building/{OTHER}.lock",
    f"records/{OTHER}.forgotten",
    f"records/.{OTHER}.json.1.partial",
    f"failures/{STAGE.key}.json",
    f"tmp/{OTHER}-x/file",
    "imported/.x/bundle.zip",
)


def files_of(store: Store) -> set[str]:
    return {str(one.relative_to(store.root)) for one in store.root.rglob("*") if one.is_file()}


def test_what_is_left_over_is_listed_and_then_removed(store: Store, bench: Bench) -> None:
    before = files_of(store)
    listed = bench("store", "gc", "--store", str(store.root), "--dry-run").assert_ok().out
    for name in LEFT:
        assert f"{store.root}/{'/'.join(name.split('/')[:2])}: " in listed
    assert listed.endswith("10 would be removed, 50 bytes\n")
    assert files_of(store) - {"lock"} == before
    removed = bench("store", "gc", "--store", str(store.root)).assert_ok().out
    assert removed.endswith("10 removed, 50 bytes\n")
    assert files_of(store) - {"lock"} == before - set(LEFT)
    assert store.done() == {STAGE.key}
    assert bench("store", "gc", "--store", str(store.root)).out == "0 removed, 0 bytes\n"


def test_what_a_record_that_cannot_be_read_describes_is_kept(store: Store, bench: Bench) -> None:
    (store.root / "records" / f"{OTHER}.json").write_text("{")
    bench("store", "gc", "--store", str(store.root)).assert_ok()
    assert (store.artifact(OTHER) / "file").exists()
    assert (store.artifact(STAGE.key) / "file").exists()


def test_checkpoints_that_a_benchmark_can_resume_are_kept(
    store: Store, bench: Bench, tiny_file: Path
) -> None:
    from backbench.api import load

    key = load(tiny_file).plan(store=store.root).stages[-1].key
    store.checkpoint(key).write_text("12345")
    kept = bench("store", "gc", str(tiny_file), "--store", str(store.root)).assert_ok()
    assert key not in kept.out
    assert store.checkpoint(key).exists()
    assert key in bench("store", "gc", "--store", str(store.root)).assert_ok().out


def test_nothing_is_removed_while_a_run_holds_the_store(store: Store, bench: Bench) -> None:
    with store.held():
        refused = bench("store", "gc", "--store", str(store.root))
    assert (refused.code, "another run is using this store" in refused.err) == (2, True)
    assert (store.artifact(OTHER) / "file").exists()


def test_a_folder_without_a_store_stays_as_it_is(bench: Bench, tmp_path: Path) -> None:
    refused = bench("store", "gc", "--store", "nowhere")
    assert (refused.code, "there is no store" in refused.err) == (2, True)
    assert not (tmp_path / "nowhere").exists()
