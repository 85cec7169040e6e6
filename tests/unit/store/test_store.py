"""The store: written once, whole or not at all, held by one run at a time."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys

import pytest
from tests import factories

from backbench.errors import BackbenchError, StoreError, UsageError
from backbench.model import PluginUse, Stage, StageKind
from backbench.store.flags import Raised
from backbench.store.metadata import EvaluationRecord
from backbench.store.records import Record
from backbench.store.store import Store, hash_files
from backbench.store.store_folder import LAYOUT
from backbench.system.files import owned_name

KEY = "0123456789abcdef" * 2


def record(key=KEY, count=1):
    stage = Stage(StageKind.PREDICT, None, 0, label=key)
    return Record(
        key=key,
        stage=stage,
        metadata=EvaluationRecord(1, count, 3, variants=("k=1",)),
        flags=(Raised("s", "a", "b"),),
        wall_s=1.5,
        cpu_s=1.0,
        peak_mem_gib=0.5,
        finished="2026-01-01T00:00:00+00:00",
    )


@pytest.fixture
def store(tmp_path):
    made = Store(tmp_path / "store")
    made.prepare()
    return made


def publish(store, text="content", **metadata):
    with store.writing(KEY) as folder:
        (folder / "file.txt").write_text(text)
        return store.publish(folder, record(**metadata))


def test_reading_creates_nothing(tmp_path):
    store = Store(tmp_path / "store")
    assert store.done() == set()
    assert store.record(KEY) is None
    assert store.failure(KEY) is None
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="not a backbench store"):
        Store(tmp_path / "file" / "below")
    store = Store(tmp_path / "store")
    (tmp_path / "store").write_text("made by somebody else in between")
    with pytest.raises(UsageError, match="cannot be written"), store.running():
        pass


def test_what_is_published_is_there_again(store):
    publish(store, text="content", count=3)
    again = Store(store.root)
    assert again.done() == {KEY}
    assert again.record(KEY) == record(count=3)
    assert (again.artifact(KEY) / "file.txt").read_text() == "content"
    assert list((store.root / "tmp").iterdir()) == []


def test_a_stage_that_raises_leaves_nothing(store):
    def stage():
        with store.writing(KEY) as folder:
            (folder / "file.txt").write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        stage()
    assert list((store.root / "tmp").iterdir()) == []
    assert not store.artifact(KEY).exists()
    assert store.done() == set()


def test_what_is_published_stays(store):
    assert publish(store, text="first", count=1) == record(count=1)
    assert publish(store, text="second", count=2) == record(count=1)
    assert (store.artifact(KEY) / "file.txt").read_text() == "first"
    assert store.record(KEY) == record(count=1)
    assert list((store.root / "tmp").iterdir()) == []


def test_an_artifact_without_a_record_is_done_again(store, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _: None)  # nobody brings the record
    store.artifact(KEY).mkdir()
    (store.artifact(KEY) / "outdated.txt").write_text("of a run that was killed between the two")
    assert store.done() == set()
    publish(store)
    assert [path.name for path in store.artifact(KEY).iterdir()] == ["file.txt"]


def test_a_run_killed_between_artifact_and_record_has_done_its_stage(store):
    made = publish(store)
    path = store.root / "records" / f"{KEY}.json"
    path.rename(store.artifact(KEY) / ".record.json")
    assert store.done() == set()
    with store.running():
        assert store.done() == {KEY}
        assert store.record(KEY) == made
    assert [one.name for one in store.artifact(KEY).iterdir()] == ["file.txt"]


def test_a_forgotten_stage_leaves_its_place(store):
    publish(store, text="old", count=1)
    store.forget(KEY)
    assert store.done() == set()
    assert not store.artifact(KEY).exists()
    assert publish(store, text="new", count=2) == record(count=2)
    assert [one.name for one in (store.root / "artifacts").iterdir()] == [KEY]
    assert [one.name for one in (store.root / "records").iterdir()] == [f"{KEY}.json"]


@pytest.mark.parametrize("count", [object(), float("nan"), float("inf")])
def test_a_record_that_is_no_json_leaves_no_artifact(store, count):
    with pytest.raises(BackbenchError, match=r"metadata\.images is "):
        publish(store, count=count)
    assert not store.artifact(KEY).exists()
    assert store.done() == set()


def test_publishing_drops_the_checkpoint(store):
    path = store.checkpoint(KEY)
    assert path.parent.parent == store.root
    path.parent.mkdir()
    path.write_bytes(b"the state of a training")
    with store.running():  # what a killed run has left is kept for the next one
        assert path.exists()
        publish(store)
    assert not path.exists()


def test_what_a_killed_run_left_of_checkpoints_goes(store):
    publish(store)
    other = store.checkpoint("fedcba9876543210" * 2)
    other.parent.mkdir()
    half = other.with_name(f".{other.name}.123.partial")  # killed while it wrote
    late = store.checkpoint(KEY)  # killed between the record and its end
    for path in (other, half, late):
        path.write_bytes(b"the state of a training")
    with store.running():
        assert list(other.parent.iterdir()) == [other]


def test_what_killed_runs_left_half_written_goes(store):
    publish(store)
    store.write_failure(KEY, {"reason": "it failed before, and was killed once it was done"})
    halves = [
        store.root / name
        for name in (
            ".files.json.12.partial",
            f"records/.{KEY}.json.12.partial",
            "failures/.x.partial",
            "logs/.progress.json.12.partial",
        )
    ]
    for path in halves:
        path.write_text("half")
    with store.running():
        assert [path for path in halves if path.exists()] == []
        assert store.failure(KEY) is None
    assert store.done() == {KEY}


def test_a_stage_is_done_where_what_it_needed_before_cannot_be_removed(store):
    (store.root / "failures" / f"{KEY}.json").mkdir()
    publish(store)
    assert store.done() == {KEY}
    assert (store.artifact(KEY) / "file.txt").read_text() == "content"


def test_everybody_may_read_what_is_published(store):
    with store.writing(KEY) as folder:
        (folder / "file.safetensors").touch(0o600)  # as safetensors makes them
        store.publish(folder, record())
    (path,) = store.artifact(KEY).iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_publishing_forgets_the_failure(store):
    store.write_failure(KEY, {"label": "l", "reason": "no memory"})
    assert Store(store.root).failure(KEY) == {"label": "l", "reason": "no memory"}
    publish(store)
    assert store.failure(KEY) is None


# -- what is not a store, or not ours ---------------------------------------------------------


def test_a_folder_with_other_things_is_refused(tmp_path):
    (tmp_path / "photo.jpg").write_text("")
    with pytest.raises(UsageError, match="not a backbench store: choose another folder"):
        Store(tmp_path)


def test_a_file_is_refused(tmp_path):
    (tmp_path / "store").write_text("")
    with pytest.raises(UsageError, match="not a backbench store"):
        Store(tmp_path / "store")


def test_an_empty_folder_is_taken(tmp_path):
    Store(tmp_path).prepare()
    assert json.loads((tmp_path / "store.json").read_text()) == {"layout": LAYOUT}


@pytest.mark.parametrize("name", ["lost+found", ".Trash-1000", "System Volume Information"])
def test_the_root_folder_of_a_fresh_volume_is_taken(tmp_path, name):
    (tmp_path / name).mkdir()
    Store(tmp_path).prepare()
    assert Store(tmp_path).exists


def test_a_folder_that_a_scheduler_made_for_a_record_is_taken(tmp_path):
    (tmp_path / "records").mkdir()
    Store(tmp_path).prepare()
    assert Store(tmp_path).exists


def test_a_folder_of_others_with_records_is_refused(tmp_path):
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "patients.csv").touch()
    with pytest.raises(UsageError, match="not a backbench store"):
        Store(tmp_path)


def test_a_file_system_without_modes_holds_a_store(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("pathlib.Path.chmod", refuse)
    monkeypatch.setattr("os.fchmod", refuse)
    store = Store(tmp_path / "store")
    with store.running():
        publish(store)
    assert store.done() == {KEY}


@pytest.mark.filterwarnings("ignore:flock not supported")
@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM])
def test_a_file_system_without_locks_holds_a_store_for_one_run(tmp_path, monkeypatch, caplog, code):
    def refuse(*_):
        raise OSError(code, "no locks")

    monkeypatch.setattr("fcntl.flock", refuse)
    store = Store(tmp_path / "store")
    for _ in range(2):
        with store.running():
            with pytest.raises(UsageError, match="another run is using this store"):
                store.running().__enter__()
            store.write_failure(KEY, {})
    assert caplog.text.count("has no locks") == (code != errno.ENOSYS)  # filelock's own remedy


def test_a_run_killed_while_it_made_the_store_does_not_spoil_the_folder(tmp_path):
    (tmp_path / ".store.json.123.partial").write_text("")
    Store(tmp_path).prepare()
    (tmp_path / "store.json").unlink()
    (tmp_path / "records" / f"{KEY}.json").touch()
    with pytest.raises(UsageError):
        Store(tmp_path)  # the marker is written first: its absence says that it is not ours


def test_another_layout_is_refused(store):
    (store.root / "store.json").write_text(json.dumps({"layout": LAYOUT + 1}))
    with pytest.raises(UsageError, match=f"a store of layout {LAYOUT + 1}"):
        Store(store.root)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "cannot be read"),
        ("[]", "not a JSON object"),
        ("", "cannot be read as a record"),
        ("{" * 100_000, "cannot be read as a record"),
        ('{"a":' * 100_000, "nested too deeply"),
        ('{"schema": 3}', "schema 3, this backbench has 2"),
        ('{"schema": 2, "key": "k"}', "'stage' is missing"),
        ('{"schema": NaN}', "not finite, NaN"),
    ],
)
def test_a_damaged_record_is_named(store, text, reason):
    path = store.root / "records" / f"{KEY}.json"
    path.write_text(text)
    with pytest.raises(StoreError, match=reason) as caught:
        store.record(KEY)
    assert str(path) in str(caught.value)


# -- one run at a time ------------------------------------------------------------------------


def test_two_runs_cannot_hold_a_store(store):
    with store.running():
        other = Store(store.root)
        with pytest.raises(UsageError, match="another run is using this store"), other.running():
            pass
    with Store(store.root).running():
        pass


def test_a_killed_run_holds_nothing(store):
    code = (
        "import os, pathlib, signal, sys; from backbench.store.store import Store\n"
        "with Store(pathlib.Path(sys.argv[1])).running():\n"
        "    os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(store.root)], check=False)
    assert done.returncode == -9
    with store.running():
        pass


def test_a_run_sweeps_up_what_killed_ones_were_writing(store):
    (store.root / "tmp" / f"{KEY}-half").mkdir()
    code = "from backbench.system.files import owned_name; print(owned_name())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    (store.root / "tmp" / f"{KEY}-{done.stdout.strip()}").mkdir()
    with store.running():
        assert list((store.root / "tmp").iterdir()) == []


def test_a_run_leaves_what_others_are_writing(store):
    init = f"{KEY}-{owned_name()}".replace(f"-{os.getpid()}-", "-1-")  # a process that runs
    far = f"{KEY}-00000000-{os.getpid()}-00000000"  # of another machine
    for name in (init, far):
        (store.root / "tmp" / name).mkdir()
        (store.root / "failures" / f".{name}.partial").touch()
    with store.running():
        pass
    assert {one.name for one in (store.root / "tmp").iterdir()} == {init, far}
    assert len(list((store.root / "failures").iterdir())) == 2


# -- files ------------------------------------------------------------------------------------


def test_files_are_hashed_by_relative_path_in_order(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "x").write_bytes(b"")
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / "b-c").write_bytes(b"")  # after what is in b, as of paths
    (tmp_path / "d").symlink_to(tmp_path / "b", target_is_directory=True)  # which is not followed
    found = hash_files(tmp_path)
    assert list(found) == ["a", "b/x", "b-c"]
    assert found["a"] == {
        "bytes": 3,
        "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    }


@pytest.mark.parametrize("kind", StageKind)
def test_a_record_survives_json(kind):
    use = PluginUse("attack", "patch", "backbench", 1, {"path": "/x", "size": 4}, {"size": 4})
    made = factories.record(KEY, Stage(kind, use, 3, {"dataset": KEY}, "content", "label"))
    again = Record.from_json(json.loads(json.dumps(made.to_json())))
    assert again.to_json() == made.to_json()
    assert again.metadata == made.metadata
    assert again.label == "label"
    assert again.stage.key == made.stage.key


def test_the_metadata_of_another_kind_is_refused():
    with pytest.raises(StoreError, match="is of a pretrain stage"):
        factories.record(KEY, StageKind.PRETRAIN).of(EvaluationRecord)


@pytest.mark.parametrize("key", ["..", "a/b", "a\\b", ""])
def test_a_record_whose_key_leads_out_of_the_folder_is_none(key: str) -> None:
    content = factories.record(key).to_json()
    with pytest.raises(ValueError, match="is no key"):
        Record.from_json(content)
