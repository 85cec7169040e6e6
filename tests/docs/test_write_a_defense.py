"""The page on defenses, from its empty folder to its rows."""

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
from backbench.store.store import Store
from backbench.testing import base

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "write-a-defense.md"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Write the files of the page, and register them as an installed distribution."""
    folder = tmp_path_factory.mktemp("shield")
    text = PAGE.read_text(encoding="utf-8")
    for name, code in re.findall(r"```(?:python|toml)\n# (\S+)\n(.*?)```", text, re.DOTALL):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(code, encoding="utf-8")
    info = folder / "my_shield-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-shield\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[backbench]\nmy-shield = my_shield\n")
    base.installed.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setenv("PYTHONPATH", str(folder))  # of child processes
        yield folder
    base.installed.cache_clear()
    for name in [
        one for one in sys.modules if one.partition(".")[0] in ("my_shield", "test_shield")
    ]:
        del sys.modules[name]


@pytest.mark.parametrize("name", ["TestErase", "TestOutliers", "TestPrune"])
def test_each_defense_passes_its_contract(written: Path, name: str) -> None:
    contract = getattr(importlib.import_module("test_shield"), name)()
    tests = [one for name, one in inspect.getmembers(contract) if name.startswith("test_")]
    plain = [one for one in tests if not inspect.signature(one).parameters]
    assert len(plain) > 10
    for test in plain:
        test()


def test_the_benchmark_gives_a_row_for_each_chain(written: Path) -> None:
    where = (str(written / "shield.toml"), "--store", str(written / "store"))
    for command in (("run", *where, "--executor", "serial"), ("show", *where, "--format=json")):
        done = CliRunner().invoke(cli, command, catch_exceptions=False)
        assert done.exit_code == 0, done.output
    rows = {(row["attack"], row["defense"]): row for row in json.loads(done.stdout)["rows"]}
    assert len(rows) == 6
    for (attack, _), row in rows.items():
        assert ("asr" in row["metrics"]) == (attack != "none")
    records = [
        one
        for key in Store(written / "store").done()
        if (one := Store(written / "store").record(key))
    ]
    guarded = [one for one in records if one.stage.guard]
    assert len(guarded) == 4  # clean and poisoned, before and after images were dropped
    assert {one.provenance["guard"] for one in guarded} == {"my-shield 1.0"}
    verified = CliRunner().invoke(cli, ["verify", *where], catch_exceptions=False)
    assert verified.exit_code == 0, verified.output
