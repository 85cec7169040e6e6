"""The page on defenses, from its empty folder to its rows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from backbench.cli.root import cli
from backbench.store.store import Store
from tests.docs import pages

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return the folder with the files of the page."""
    with pages.written(
        "write-a-defense.md", "my_shield", tmp_path_factory.mktemp("my_shield")
    ) as folder:
        yield folder


@pytest.mark.parametrize("name", ["TestErase", "TestOutliers", "TestPrune"])
def test_each_defense_passes_its_contract(written: Path, name: str) -> None:
    assert pages.passes("test_shield", name) > 10


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
