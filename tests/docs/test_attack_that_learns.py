"""The page on attacks that learn, from its empty folder to its row."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from backbench.cli.root import cli
from tests.docs import pages


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return the folder with the files of the page."""
    with pages.written(
        "attack-that-learns.md", "my_shift", tmp_path_factory.mktemp("my_shift")
    ) as folder:
        yield folder


def test_the_attack_passes_its_contract(written: Path) -> None:
    assert pages.passes("test_shift", "TestShift") > 15


def test_the_benchmark_gives_a_row(written: Path) -> None:
    where = (str(written / "shift.toml"), "--store", str(written / "store"))
    for command in (("run", *where, "--executor", "serial"), ("show", *where, "--format=json")):
        done = CliRunner().invoke(cli, command, catch_exceptions=False)
        assert done.exit_code == 0, done.output
    rows = {row["attack"]: row for row in json.loads(done.stdout)["rows"]}
    assert 0 <= rows["shift"]["metrics"]["asr"]["mean"] <= 1
    assert "asr" not in rows["none"]["metrics"]
