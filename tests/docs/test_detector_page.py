"""The page on detectors of triggered images, from its empty folder to its row."""

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
    with pages.written("detector.md", "my_flips", tmp_path_factory.mktemp("my_flips")) as folder:
        yield folder


def test_the_detector_passes_its_contract(written: Path) -> None:
    assert pages.passes("test_flips", "TestFlips") > 12


def test_the_benchmark_gives_a_row_with_its_control(written: Path) -> None:
    where = (str(written / "flips.toml"), "--store", str(written / "store"))
    shown = ("show", *where, "--detectors", "--format=json")
    for command in (("run", *where, "--executor", "serial"), shown):
        done = CliRunner().invoke(cli, command, catch_exceptions=False)
        assert done.exit_code == 0, done.output
    rows = {row["attack"]: row for row in json.loads(done.stdout)["rows"]}
    assert 0 <= rows["patch"]["metrics"]["detector/auroc"]["mean"] <= 1
    assert 0 <= rows["patch"]["controls"]["detector/auroc"]["mean"] <= 1
    assert set(rows["none"]["metrics"]) >= {"detector/fpr", "detector/accuracy_passed"}
    assert "detector/auroc" not in rows["none"]["metrics"]
