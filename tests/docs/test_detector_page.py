"""The page on detectors of triggered images, from its empty folder to its row."""

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

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "detector.md"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Write the files of the page, and register them as an installed distribution."""
    folder = tmp_path_factory.mktemp("flips")
    text = PAGE.read_text(encoding="utf-8")
    for name, code in re.findall(r"```(?:python|toml)\n# (\S+)\n(.*?)```", text, re.DOTALL):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(code, encoding="utf-8")
    info = folder / "my_flips-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-flips\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[backbench]\nmy-flips = my_flips\n")
    base.installed.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setenv("PYTHONPATH", str(folder))  # of child processes
        yield folder
    base.installed.cache_clear()
    for name in ("my_flips", "my_flips.flips", "test_flips"):
        sys.modules.pop(name, None)


def test_the_detector_passes_its_contract(written: Path) -> None:
    contract = importlib.import_module("test_flips").TestFlips()
    tests = [one for name, one in inspect.getmembers(contract) if name.startswith("test_")]
    plain = [one for one in tests if not inspect.signature(one).parameters]
    assert len(plain) > 12
    for test in plain:
        test()


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
