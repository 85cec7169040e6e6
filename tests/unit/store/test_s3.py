"""A store on S3: a real server and client, several writers, and the commands that read it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.unit.store.s3 import KEYS, s3_server
from tests.unit.store.writer import publish, torn

from backbench.errors import UsageError
from backbench.store.location import open_store
from backbench.store.remote import Remote
from backbench.store.store import Store

pytest.importorskip("moto")
s3fs = pytest.importorskip("s3fs")

URL = "s3://bucket/some/store"
STAGES = [f"{number:032x}" for number in range(10)]


@pytest.fixture(scope="module")
def server() -> Iterator[None]:
    before = dict(os.environ)
    with s3_server() as address:
        os.environ |= {**KEYS, "AWS_ENDPOINT_URL": address}
        s3fs.S3FileSystem().mkdir("bucket")
        yield
    os.environ.clear()
    os.environ.update(before)


def machine(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("BACKBENCH_CACHE", str(folder / name))
    store = open_store(URL)
    store.prepare()
    return store


@pytest.mark.usefixtures("server")
def test_four_writers_lose_and_tear_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = {name: machine(tmp_path, name, monkeypatch) for name in "abcd"}

    def write(name: str) -> dict[str, str]:
        first = 2 * ord(name) % len(STAGES)
        keys = STAGES[first:] + STAGES[:first]
        return {key: publish(stores[name], key, name) for key in keys}

    with ThreadPoolExecutor(4) as pool:
        kept = list(pool.map(write, stores))
    assert kept == [kept[0]] * 4  # all of them report the same
    reader = machine(tmp_path, "reader", monkeypatch)
    assert reader.done() == set(STAGES)
    reader.fetch(STAGES)
    for store in (reader, *stores.values()):
        assert not [key for key in STAGES if torn(store, key)]
        assert list((store.root / "tmp").iterdir()) == []
    for key, author in kept[0].items():
        assert (reader.folder(key) / "one").read_text() == f"one of {key} by {author}"


@pytest.mark.usefixtures("server")
def test_an_object_is_created_once() -> None:
    remote = Remote("s3://bucket/other")
    assert remote.create("name", b"first")
    assert not remote.create("name", b"second")
    assert remote.marker() is None


@pytest.mark.usefixtures("server")
def test_a_bucket_that_is_not_there_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BACKBENCH_CACHE", str(tmp_path))
    store = open_store("s3://nowhere/store")
    assert not store.exists
    with pytest.raises(UsageError, match="s3://nowhere/store: cannot be written: "):
        store.prepare()
