"""What tests of ``verify`` share: a finished store, copies of it, and ways to change them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from backbench.cli.root import cli
from backbench.store.store import hash_files
from tests.conftest import Bench, tiny

SMALL = (
    tiny()
    .replace('methods = ["moco-v2", "rotnet"]', 'methods = ["rotnet"]')
    .replace('defenses = ["none", "distill"]', 'defenses = ["none"]')
    .replace("epochs = 2", "epochs = 1")
)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which a small matrix has run: a method, an attack, two evaluators.

    It is made once: a test only reads it.
    """
    folder = tmp_path_factory.mktemp("finished")
    file = folder / "benchmarks.toml"
    file.write_text(SMALL, encoding="utf-8")
    arguments = ["run", str(file), "--executor", "serial", "--store", str(folder / "store")]
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, done.output
    return folder


@pytest.fixture
def store(finished: Path, tmp_path: Path) -> Path:
    """Return a copy of its store, to be changed."""
    return Path(shutil.copytree(finished / "store", tmp_path / "store"))


@pytest.fixture
def bundle(finished: Path, tmp_path: Path, bench: Bench) -> Path:
    """Return a bundle of it."""
    return export(bench, finished, tmp_path / "theirs.zip")


def export(bench: Bench, finished: Path, out: Path) -> Path:
    file, store = str(finished / "benchmarks.toml"), str(finished / "store")
    bench("export", file, "--store", store, "--out", str(out)).assert_ok()
    return out


def key_of(store: Path, start: str) -> str:
    """Return the key of the one stage whose label starts so."""
    found = []
    for path in (store / "records").glob("*.json"):
        label = json.loads(path.read_text(encoding="utf-8"))["stage"]["label"]
        found += [path.stem] * label.startswith(start)
    (key,) = found
    return key


EVALUATION = "predict linear · rotnet · targeted"
FIT = "fit linear · rotnet · targeted"


def edit(store: Path, key: str, change: Callable[[dict[str, Any]], object]) -> None:
    path = store / "records" / f"{key}.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    change(record)
    path.write_text(json.dumps(record), encoding="utf-8")


def fix_hashes(store: Path, key: str) -> None:
    files = hash_files(store / "artifacts" / key)
    edit(store, key, lambda record: record.update(files=files))
    hashes = {name: said["sha256"] for name, said in files.items()}
    for path in (store / "records").glob("*.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        for role, read in record["stage"]["inputs"].items():
            if read == key:
                record["read"][role] = hashes
        path.write_text(json.dumps(record), encoding="utf-8")


def differing(bench: Bench, *arguments: str) -> list[str]:
    """Run ``verify`` and return what differs."""
    outcome = bench("verify", *arguments)
    found = [line for line in outcome.out.splitlines() if line.startswith("differs: ")]
    assert outcome.code == bool(found), outcome
    assert "Traceback" not in outcome.err
    return found


def only(found: list[str], key: str, *words: str) -> None:
    """Check that one stage differs, and that the sentence says in what."""
    assert len(found) == 1, found
    for word in (key, *words):
        assert word in found[0]
