"""`store gc` removes what no stage needs, and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tests import factories
from tests.conftest import Bench

from backbench.execution.messages import encode_signal
from backbench.model import Stage, StageKind
from backbench.plugin.executor import Finished, Progressed, Signal
from backbench.store import leases
from backbench.store.leases import LEASE_S
from backbench.store.store import Store, hash_files
from backbench.system import files
from backbench.system.json_text import to_json

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
    from backbench import load

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


# -- jobs that outlive their driver -------------------------------------------------------------

#: The end of a temporary name of a process of another machine.
ELSEWHERE = "00000000-17-0123abcd"


def needed(store: Store, age_s: float) -> set[str]:
    """Let a job on another machine be in the middle of a stage; its last touch is so old."""
    names = {
        f"tmp/{OTHER}-{ELSEWHERE}/half",
        f"checkpoints/{OTHER}.safetensors",
        f"checkpoints/.{OTHER}.safetensors.{ELSEWHERE}.partial",
        f"building/{OTHER}/train.safetensors",
        f"artifacts/{OTHER}/file",
    }
    for name in names:
        path = store.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("12345")
    now = files.time_in(store.root)
    os.utime(store.root / "tmp" / f"{OTHER}-{ELSEWHERE}", (now - age_s, now - age_s))
    return names


def test_what_a_job_on_another_machine_writes_and_needs_is_kept(store: Store, bench: Bench) -> None:
    names = needed(store, LEASE_S / 2)
    done = bench("store", "gc", "--store", str(store.root)).assert_ok()
    assert "note: what jobs need that may still make 1 stage is kept" in done.err
    assert names <= files_of(store)


def test_what_nobody_has_touched_for_an_hour_is_removed(store: Store, bench: Bench) -> None:
    names = needed(store, LEASE_S + 1)
    done = bench("store", "gc", "--store", str(store.root)).assert_ok()
    assert "note" not in done.err
    assert not names & files_of(store)


def test_a_process_that_writes_is_seen_and_one_that_was_killed_is_not(
    store: Store, bench: Bench
) -> None:
    script = (
        "import sys; from pathlib import Path; from backbench.store.store import Store\n"
        "with Store(Path(sys.argv[1])).writing(sys.argv[2]): print('ready', flush=True); input()"
    )
    command = [sys.executable, "-c", script, str(store.root), OTHER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as job:
        assert job.stdout is not None
        assert job.stdout.readline() == b"ready\n"
        gc = ("store", "gc", "--store", str(store.root))
        assert OTHER not in bench(*gc).assert_ok().out
        assert store.checkpoint(OTHER).exists()
        job.kill()
    assert f"checkpoints/{OTHER}" in bench(*gc).assert_ok().out


def test_a_folder_is_touched_while_it_is_written(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    touched = threading.Event()
    utime = os.utime
    monkeypatch.setattr(leases, "TOUCH_S", 0.001)
    monkeypatch.setattr(os, "utime", lambda path: (utime(path), touched.set()))
    with store.writing(OTHER):
        assert touched.wait(60)


def submission(store: Store, *signals: Signal, age_s: float = 0.0) -> None:
    """Let a driver that was killed have submitted a stage to SLURM."""
    folder = store.root / "logs" / "slurm" / "backbench-01234567"
    folder.mkdir(parents=True)
    (folder / "stages.json").write_text(to_json([OTHER]))
    (folder / "0.signals.jsonl").write_text("".join(map(encode_signal, signals)))
    then = files.time_in(store.root) - age_s
    for path in (*folder.iterdir(), folder):
        os.utime(path, (then, then))


@pytest.mark.parametrize(
    ("signals", "age_s", "kept"),
    [
        ((), 0, True),
        ((Progressed(OTHER, 1, 2),), 3600, True),
        ((Finished(OTHER, "stopped there", stopped=True),), 0, True),
        ((Finished(OTHER, "it failed"),), 0, False),
        ((Progressed(OTHER, 1, 2),), 8 * 24 * 3600, False),
    ],
    ids=["queued", "running", "requeued", "failed", "cancelled"],
)
def test_the_checkpoint_of_a_job_of_a_killed_driver_is_kept(
    store: Store, bench: Bench, signals: tuple[Signal, ...], age_s: float, kept: bool
) -> None:
    submission(store, *signals, age_s=age_s)
    bench("store", "gc", "--store", str(store.root)).assert_ok()
    assert store.checkpoint(OTHER).exists() == kept
    assert (store.building(OTHER) / "train.safetensors").exists() == kept


def test_a_stage_that_is_published_meanwhile_is_kept(store: Store) -> None:
    """Its record has left the artifact after the records were listed."""
    from backbench.store.gc import leftovers

    other = Stage(StageKind.PREDICT, None, 1)
    with store.writing(other.key) as folder:
        store.publish(folder, factories.record(other.key, other))

    class Late(Store):
        def recorded(self) -> set[str]:
            return super().recorded() - {other.key}

    found = leftovers(Late(store.root), set(), set())
    assert store.folder(other.key) not in [one.path for one in found]


@pytest.mark.parametrize("name", ["tmp", "logs", "failures", "records", "checkpoints"])
def test_what_a_link_in_a_store_leads_to_is_left_alone(
    store: Store, bench: Bench, tmp_path: Path, name: str
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    for one in (".profile", ".letter.partial", "letter"):
        (home / one).write_text("mine")
    shutil.rmtree(store.root / name, ignore_errors=True)
    (store.root / name).symlink_to(home)
    bench("store", "gc", "--store", str(store.root)).assert_ok()
    with store.running():
        pass
    assert {one.name for one in home.iterdir()} == {".profile", ".letter.partial", "letter"}
