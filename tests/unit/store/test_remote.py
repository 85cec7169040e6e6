"""A store on a storage: mirrored by each machine, the record last and on a condition."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from tests import factories
from tests.conftest import Bench
from tests.unit.store.writer import publish, torn

from backbench import load
from backbench.errors import StoreError, UsageError
from backbench.model import Stage, StageKind
from backbench.store.integrity import checked, damaged
from backbench.store.location import located, open_store
from backbench.store.records import Record
from backbench.store.store import Store, hash_files

KEY, OTHER = "0" * 32, "1" * 32
URL = "memory://bucket/store"


class Machines:
    """Opens the store of a URL as several machines do: each has a cache of its own."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, url: str = URL) -> None:
        self._folder, self._monkeypatch, self._url = folder, monkeypatch, url

    def __call__(self, name: str) -> Store:
        self._monkeypatch.setenv("BACKBENCH_CACHE", str(self._folder / name))
        store = open_store(self._url)
        store.prepare()
        return store


@pytest.fixture
def machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machines]:
    yield Machines(tmp_path, monkeypatch)
    fsspec.filesystem("memory").store.clear()
    fsspec.filesystem("memory").pseudo_dirs[:] = [""]


def objects() -> dict[str, bytes]:
    storage = fsspec.filesystem("memory")
    return {path: storage.cat_file(path) for path in storage.find("/bucket")}


def test_what_one_machine_publishes_another_one_reads(machines: Machines) -> None:
    assert publish(machines("a"), KEY, "a") == "a"
    other = machines("b")
    assert other.done() == {KEY}
    assert not other.folder(KEY).exists()  # it is fetched when it is read
    assert damaged(other, [KEY]) == {}
    assert (other.artifact(KEY) / "one").read_text() == f"one of {KEY} by a"
    assert not torn(other, KEY)
    assert checked(other, KEY) == machines("a").record(KEY)
    assert sorted(one.rpartition("/")[2] for one in objects()) == [
        f"{KEY}.json",
        "one",
        "store.json",
        "two",
    ]


def test_the_first_of_two_machines_stays(machines: Machines) -> None:
    first, second = machines("a"), machines("b")
    assert publish(first, KEY, "a") == "a"
    assert publish(second, KEY, "b") == "a"
    for store in (first, second, machines("c")):
        assert (store.artifact(KEY) / "one").read_text() == f"one of {KEY} by a"
        assert not torn(store, KEY)
    assert not list(second.root.rglob(".*"))


def test_a_stage_that_cannot_be_uploaded_is_uploaded_by_the_next_run(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = machines("a")

    def refuse(*_: object, **__: object) -> None:
        raise ConnectionError("the network is gone")

    with monkeypatch.context() as without:
        without.setattr(MemoryFileSystem, "pipe_file", refuse)
        with pytest.raises(StoreError, match=rf"{URL}: cannot be written: the network is gone"):
            publish(store, KEY, "a")
    assert store.done() == machines("b").done() == set()
    with machines("a").running():
        pass
    assert machines("a").done() == machines("b").done() == {KEY}
    assert not torn(store, KEY)


def test_a_damaged_object_is_named_and_not_kept(machines: Machines) -> None:
    publish(machines("a"), KEY, "a")
    (path,) = (one for one in objects() if one.endswith("/one"))
    fsspec.filesystem("memory").pipe_file(path, b"something else")
    other = machines("b")
    with pytest.raises(StoreError, match=rf"{URL}/artifacts/{KEY}/…/one: not what its record"):
        other.artifact(KEY)
    assert not other.folder(KEY).exists()
    assert list((other.root / "tmp").iterdir()) == []


def test_a_damaged_copy_is_fetched_again(machines: Machines) -> None:
    publish(machines("a"), KEY, "a")
    other = machines("b")
    (other.artifact(KEY) / "one").write_text("short")
    assert damaged(other, [KEY]) == {}
    text = (other.artifact(KEY) / "one").read_text()
    (other.folder(KEY) / "one").write_text("x" * len(text))
    checked(other, KEY)
    assert (other.folder(KEY) / "one").read_text() == text


@pytest.mark.parametrize("remove", [Store.remove, Store.forget])
def test_what_one_machine_removes_is_gone_for_others(machines: Machines, remove: object) -> None:
    publish(machines("a"), KEY, "a")
    publish(machines("a"), OTHER, "a")
    machines("b").artifact(KEY)
    assert callable(remove)
    remove(machines("a"), KEY)
    other = machines("b")
    assert other.done() == {OTHER}
    assert not other.folder(KEY).exists()
    assert publish(machines("c"), KEY, "c") == "c"
    assert (machines("b").artifact(KEY) / "one").read_text() == f"one of {KEY} by c"


def test_a_stage_that_was_made_again_replaces_the_copy(machines: Machines) -> None:
    publish(machines("a"), KEY, "a")
    machines("b").artifact(KEY)
    machines("a").remove(KEY)
    publish(machines("a"), KEY, "again")
    other = machines("b")
    assert (other.artifact(KEY) / "one").read_text() == f"one of {KEY} by again"
    assert not torn(other, KEY)


def test_a_record_of_another_machine_is_found_while_a_run_is_under_way(machines: Machines) -> None:
    store = machines("a")
    publish(machines("b"), KEY, "b")
    assert store.done() == set()
    assert checked(store, KEY).provenance["author"] == "b"


def test_a_storage_without_conditions_is_refused(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = MemoryFileSystem.pipe_file
    monkeypatch.setattr(
        MemoryFileSystem, "pipe_file", lambda self, path, value, **_: pipe(self, path, value)
    )
    with pytest.raises(UsageError, match="overwrites what is to be created once"):
        machines("a")


def test_a_record_that_is_none_is_named_and_made_again(machines: Machines) -> None:
    publish(machines("a"), KEY, "a")
    path = f"/bucket/store/records/{KEY}.json"
    fsspec.filesystem("memory").pipe_file(path, b'{"schema": 99}')
    other = machines("b")
    assert "schema 99" in damaged(other, [KEY])[KEY]
    other.forget(KEY)
    assert publish(other, KEY, "b") == "b"
    assert not torn(machines("a"), KEY)


def test_a_record_that_is_larger_than_any_is_not_fetched(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(machines("a"), KEY, "a")
    monkeypatch.setattr("backbench.store.remote.MOST_BYTES", 10)
    with pytest.raises(UsageError, match=r"records/0+\.json: \d+ bytes, which no record has"):
        machines("b")


def test_the_library_takes_a_url(machines: Machines, tiny_file: Path) -> None:
    machines("a")
    planned = load(tiny_file).plan(store=URL)
    assert planned.store.name == URL
    assert len(planned.missing) == len(planned.stages)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nothing://x", "cannot be used as a store"),
        ("gs://x/y", "pip install"),
        ("zip://x", "zip://x: cannot be used as a store"),  # an OSError of its own
        ("dir://x", "dir://x: cannot be used as a store"),  # an AttributeError
        ("memory://", "names no store: write memory://BUCKET/PREFIX"),
        ("s3:///", "names no store: write s3://BUCKET/PREFIX"),
    ],
)
def test_a_url_of_no_use_is_one_sentence(
    bench: Bench, tiny_file: Path, url: str, message: str
) -> None:
    done = bench("plan", str(tiny_file), "--store", url)
    assert done.code == 2
    assert message in done.err
    assert done.err.count("\n") == 1


def test_commands_that_are_printed_name_the_url(
    bench: Bench, machines: Machines, tiny_file: Path
) -> None:
    machines("a")
    found = json.loads(bench("plan", str(tiny_file), "--store", URL, "--format", "json").out)
    assert found["command"][-2:] == ["--store", URL]
    assert bench("verify", "--store", URL).assert_ok().out.startswith(f"{URL}: 0 stages checked")


def test_a_url_without_a_store_is_named(machines: Machines, tmp_path: Path) -> None:
    machines("a")
    assert not Store(located("memory://bucket/none")).exists


# -- sync -------------------------------------------------------------------------------------


def chain(store: Store) -> None:
    """Publish a stage, and one that reads it."""
    store.prepare()
    publish(store, KEY, "a")
    with store.writing(OTHER) as folder:
        (folder / "file").write_text("content")
        stage = Stage(StageKind.FEATURES, None, 0, {"encoder": KEY})
        made = factories.record(OTHER, stage, files=hash_files(folder))
        store.publish(folder, made)


def test_a_folder_goes_to_a_url_and_back(bench: Bench, machines: Machines, tmp_path: Path) -> None:
    machines("a")
    chain(source := Store(tmp_path / "source"))
    size = sum(
        path.stat().st_size for path in (source.root / "artifacts").rglob("*") if path.is_file()
    )
    done = bench("store", "sync", "source", URL).assert_ok().out
    assert done.endswith(f"2 copied, {size} bytes; 0 were there, 0 are damaged\n")
    mirror = machines("a")
    assert mirror.done() == {KEY, OTHER}
    assert not mirror.folder(KEY).exists()  # no second copy on this machine
    again = bench("store", "sync", "source", URL).assert_ok().out
    assert again == "0 copied, 0 bytes; 2 were there, 0 are damaged\n"
    bench("store", "sync", URL, "target").assert_ok()
    target = Store(tmp_path / "target")
    for key in (KEY, OTHER):
        assert target.record_bytes(key) == source.record_bytes(key)
        assert hash_files(target.folder(key)) == hash_files(source.folder(key))
    assert list((target.root / "tmp").iterdir()) == []


def test_what_is_damaged_is_named_and_not_copied(bench: Bench, tmp_path: Path) -> None:
    chain(source := Store(tmp_path / "source"))
    (source.folder(KEY) / "deep" / "two").write_text("other")
    (source.root / "records" / f"{'2' * 32}.json").write_text("{")
    done = bench("store", "sync", "source", "target")
    assert done.code == 1
    assert f"source/artifacts/{KEY}/deep/two: not what its record says" in done.err
    assert f"source/records/{'2' * 32}.json: cannot be read" in done.err
    assert done.out.endswith("1 copied, 7 bytes; 0 were there, 2 are damaged\n")
    assert Store(tmp_path / "target").done() == {OTHER}
    assert bench("store", "sync", "nowhere", "target").code == 2


def test_an_interrupted_sync_is_continued(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain(Store(tmp_path / "source"))

    def interrupted(store: Store, folder: Path, record: Record) -> Record:
        if record.key == OTHER:
            raise KeyboardInterrupt
        return publishing(store, folder, record)

    publishing = Store.publish
    with monkeypatch.context() as stopping:
        stopping.setattr(Store, "publish", interrupted)
        assert bench("store", "sync", "source", "target").code == 130
    target = Store(tmp_path / "target")
    assert target.done() == {KEY}
    assert list((target.root / "tmp").iterdir()) == []
    again = bench("store", "sync", "source", "target").assert_ok().out
    assert again.endswith("1 copied, 7 bytes; 1 were there, 0 are damaged\n")


def test_an_object_whose_key_leads_out_of_the_folder_is_no_record(machines: Machines) -> None:
    """Else its stage would be evicted when it goes: the folder above the artifacts."""
    store = machines("a")
    publish(store, KEY, "a")
    fsspec.filesystem("memory").pipe_file("/bucket/store/records/...json", b"{}")
    assert machines("b").recorded() == {KEY}
    fsspec.filesystem("memory").rm("/bucket/store/records/...json")
    assert machines("b").done() == {KEY}
