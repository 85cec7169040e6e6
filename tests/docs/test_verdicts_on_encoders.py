"""The page on verdicts, from its empty folder to its rows."""

from __future__ import annotations

import importlib
import inspect
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from backbench.cli.root import cli
from backbench.testing import base

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "verdicts-on-encoders.md"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Write the files of the page, and register them as an installed distribution."""
    folder = tmp_path_factory.mktemp("squares")
    text = PAGE.read_text(encoding="utf-8")
    for name, code in re.findall(r"```(?:python|toml)\n# (\S+)\n(.*?)```", text, re.DOTALL):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(code, encoding="utf-8")
    info = folder / "my_squares-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-squares\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[backbench]\nmy-squares = my_squares\n")
    base.installed.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setenv("PYTHONPATH", str(folder))  # of child processes
        yield folder
    base.installed.cache_clear()
    for name in ("my_squares", "my_squares.squares", "test_squares"):
        sys.modules.pop(name, None)


def test_the_defense_passes_its_contract(written: Path) -> None:
    contract = importlib.import_module("test_squares").TestSquares()
    tests = [one for name, one in inspect.getmembers(contract) if name.startswith("test_")]
    plain = [one for one in tests if not inspect.signature(one).parameters]
    assert len(plain) > 10
    for test in plain:
        test()


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
