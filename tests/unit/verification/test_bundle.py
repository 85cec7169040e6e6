"""A stranger's bundle is refused in one sentence before anything of it is unpacked."""

from __future__ import annotations

import io
import json
import os
import stat
import struct
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backbench.errors import UsageError
from backbench.verification import bundle as bundles
from backbench.verification.bundle import open_bundle

KEY = "0" * 32


def contents(**changed: Any) -> dict[str, Any]:
    header = {"format": "backbench-bundle", "version": 1, "benchmark": "b", "files": {}}
    plan = {"benchmark": "b", "protocol": "", "cells": [], "stages": {}}
    files = {
        "bundle.json": json.dumps(header),
        "plan.json": json.dumps(plan),
        "environment.json": "[]",
        "benchmark.toml": "",
    }
    return files | changed


def written(path: Path, files: dict[str, Any], *more: tuple[zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        for entry, content in more:
            with warnings.catch_warnings(action="ignore"):  # a name that is there already
                archive.writestr(entry, content)
    return path


def refused(path: Path) -> str:
    with pytest.raises(UsageError) as caught, open_bundle(path):
        pass
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sorted(path.parent.iterdir()) == [path]
    return sentence


def test_the_least_bundle_opens(tmp_path: Path) -> None:
    with open_bundle(written(tmp_path / "b.zip", contents())) as bundle:
        assert bundle.plan.benchmark == "b"
        assert bundle.record(KEY) is None


@pytest.mark.parametrize(
    "name",
    [
        "../evil.json",
        f"artifacts/{KEY}/../../../evil.json",
        "/etc/cron.d/evil",
        f"records/../{KEY}.json",
        "C:\\evil.json",
        f"artifacts\\{KEY}\\classes.json",
        f"artifacts/{KEY}/",
        f"artifacts/{KEY}/encoder.safetensors",
        f"artifacts/{KEY}/evidence.npz",
        f"artifacts/{KEY}/images/00000000.png",
        f"artifacts/{KEY}/classes_../x.csv",
        f"records/{KEY}.json\n",
        "setup.py",
        "PLAN.json",
    ],
)
def test_a_name_that_no_bundle_has(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / "b.zip", contents(), (zipfile.ZipInfo(name), b"x"))
    assert "a bundle has no file of this name" in refused(path)


def test_a_name_that_hides_behind_a_zero(tmp_path: Path) -> None:
    entry = zipfile.ZipInfo("benchmark.tomlX../evil")
    path = written(tmp_path / "b.zip", contents(), (entry, b"x"))
    path.write_bytes(path.read_bytes().replace(b"benchmark.tomlX", b"benchmark.toml\0"))
    assert "refused" in refused(path)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFDIR])
def test_what_is_no_plain_file(tmp_path: Path, kind: int) -> None:
    entry = zipfile.ZipInfo(f"records/{KEY}.json")
    entry.create_system = 3
    entry.external_attr = (kind | 0o777) << 16
    path = written(tmp_path / "b.zip", contents(), (entry, b"/etc/passwd"))
    assert "it is not a plain file" in refused(path)


def test_one_name_twice(tmp_path: Path) -> None:
    entry = zipfile.ZipInfo("plan.json")
    path = written(tmp_path / "b.zip", contents(), (entry, b"{}"))
    assert "'plan.json' is in it 2 times" in refused(path)


def test_a_bomb(tmp_path: Path) -> None:
    files = contents(**{f"artifacts/{KEY}/train.jsonl": bytes(bundles.SMALL + 1)})
    path = written(tmp_path / "b.zip", files)
    assert path.stat().st_size < bundles.SMALL // bundles.MOST_COMPRESSION
    assert "would unpack to" in refused(path)


def test_a_bomb_in_the_predictions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = io.BytesIO()
    np.savez_compressed(inner, labels=np.zeros(10**6))
    files = contents(**{f"artifacts/{KEY}/predictions.npz": inner.getvalue()})
    path = written(tmp_path / "b.zip", files)
    monkeypatch.setattr(bundles, "MOST_BYTES", 10**6)
    with open_bundle(path) as bundle, pytest.raises(UsageError, match="would unpack to 8000"):
        bundle.read(KEY, "predictions.npz")


def test_a_size_that_is_a_lie(tmp_path: Path) -> None:
    """The list of contents says 1 byte; what is there unpacks to more."""
    path = written(tmp_path / "b.zip", contents(**{f"records/{KEY}.json": "x" * 5000}))
    data = bytearray(path.read_bytes())
    at = data.rindex(b"PK\x01\x02", 0, data.rindex(f"records/{KEY}".encode()))
    data[at + 24 : at + 28] = struct.pack("<I", 1)
    path.write_bytes(data)
    with open_bundle(path) as bundle, pytest.raises(UsageError, match=r"unpacked|another size"):
        bundle.content(f"records/{KEY}.json")


def test_too_large_and_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "b.zip", contents())
    monkeypatch.setattr(bundles, "MOST_BYTES", 50)
    assert "at most are read" in refused(path)
    monkeypatch.setattr(bundles, "MOST_FILES", 3)
    assert "4 files, and 3 at most are read" in refused(path)


@pytest.mark.parametrize("flag", ["encrypted", "compressed"])
def test_what_cannot_be_unpacked(tmp_path: Path, flag: str) -> None:
    path = written(tmp_path / "b.zip", contents())
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02")
    data[at + 8 if flag == "encrypted" else at + 10] = 1 if flag == "encrypted" else 12
    path.write_bytes(data)
    assert flag in refused(path)


@pytest.mark.parametrize(
    "changed",
    [
        {"bundle.json": "[" * 100_000},
        {"bundle.json": "[]"},
        {"bundle.json": '{"format": "other"}'},
        {"plan.json": "not JSON"},
        {"plan.json": '{"benchmark": "b", "protocol": "", "cells": [{}], "stages": {}}'},
        {"plan.json": json.dumps({**json.loads(contents()["plan.json"]), "stages": {"k": 1}})},
    ],
)
def test_a_header_or_plan_that_is_none(tmp_path: Path, changed: dict[str, str]) -> None:
    sentence = refused(written(tmp_path / "b.zip", contents(**changed)))
    assert "cannot be read" in sentence or "a bundle of version" in sentence


def test_names_that_speak_to_the_terminal(tmp_path: Path) -> None:
    cell = {"dataset": "d", "attack": "none", "method": "\x1b[2J", "defense": "none"}
    cell |= {"evaluator": "e", "seed": 0, "path": [], "control": None}
    plan = json.loads(contents()["plan.json"]) | {"cells": [cell]}
    path = written(tmp_path / "b.zip", contents(**{"plan.json": json.dumps(plan)}))
    sentence = refused(path)
    assert "not printable" in sentence
    assert "\x1b" not in sentence


def test_a_benchmark_whose_name_fills_the_screen(tmp_path: Path) -> None:
    plan = json.loads(contents()["plan.json"]) | {"benchmark": "x" * 10**6}
    sentence = refused(written(tmp_path / "b.zip", contents(**{"plan.json": json.dumps(plan)})))
    assert "longer than 255 characters" in sentence
    assert len(sentence) < 500


def test_an_archive_for_a_newer_program(tmp_path: Path) -> None:
    path = written(tmp_path / "b.zip", contents())
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 6] = 100
    path.write_bytes(data)
    assert "zip file version 10.0" in refused(path)


def test_a_pipe_or_a_device_is_no_bundle(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.zip")
    for path in (tmp_path / "pipe.zip", Path("/dev/zero"), Path("/dev/full"), tmp_path):
        with (
            pytest.raises(UsageError, match=r"not a regular file|Is a directory"),
            open_bundle(path),
        ):
            pass


def test_what_is_no_bundle(tmp_path: Path) -> None:
    path = tmp_path / "b.zip"
    path.write_bytes(b"PK\x03\x04 no more than that")
    assert "not a ZIP file" in refused(path)
    written(path, {})
    assert "it has no bundle.json" in refused(path)
