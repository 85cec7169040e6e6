"""The page on verdicts, from its empty folder to its rows."""

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
        "verdicts-on-encoders.md", "my_squares", tmp_path_factory.mktemp("my_squares")
    ) as folder:
        yield folder


def test_the_defense_passes_its_contract(written: Path) -> None:
    assert pages.passes("test_squares", "TestSquares") > 10


def test_the_benchmark_gives_verdicts_on_the_encoder_and_on_the_control(written: Path) -> None:
    where = (str(written / "squares.toml"), "--store", str(written / "store"))
    show = ("show", *where, "--format=json")
    for command in (("run", *where, "--executor", "serial"), (*show, "--each-verdict")):
        done = CliRunner().invoke(cli, command, catch_exceptions=False)
        assert done.exit_code == 0, done.output
    rows = {row["attack"]: row["metrics"] for row in json.loads(done.stdout)["rows"]}
    assert set(rows) == {"none", "badencoder"}
    for metrics in rows.values():
        score, cosine = (metrics[name]["mean"] for name in ("verdict/score", "number/cosine"))
        assert score == pytest.approx(cosine - 0.9)
    done = CliRunner().invoke(cli, (*show, "--verdicts"), catch_exceptions=False)
    (row,) = json.loads(done.stdout)["rows"]
    assert row["metrics"]["verdict/attacked"]["mean"] == 1
    assert row["metrics"]["verdict/auroc"]["mean"] in {0, 0.5, 1}
