"""A plan as a Makefile, as GNU make reads it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from backbench.errors import UsageError
from backbench.model import Plan, Stage, StageKind
from backbench.report.makefile import makefile

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="GNU make is not installed")

ROOT = Stage(StageKind.FEATURES, None, None, content="root", label="ro$ot # $(x) \\")
LEAF = Stage(StageKind.FEATURES, None, None, {"input": ROOT.key}, "leaf", "leaf")
PLAN = Plan("b $(x) #\n2", {one.key: one for one in (ROOT, LEAF)}, ())

#: Stands for backbench: writes the record of a stage, whose input must have one.
FAKE = """#!/bin/sh
[ "$2" = "it's \\$a #b.toml" ] || exit 9
mkdir -p "$4/records" && echo "$6" >> "$4/made" && : > "$4/records/$6.json"
"""


def make(folder: Path, store: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = folder / "fake"
    program.write_text(FAKE, encoding="utf-8")
    program.chmod(0o755)
    words = ["./fake", "run", "it's $a #b.toml", "--store", store]
    (folder / "stages.mk").write_text(makefile(PLAN, words, store), encoding="utf-8")
    command = ["make", "-f", "stages.mk", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "store", ["store", "a b", "a#b:c$d=e", "~a & b | c", 'it\'s "é" `x` (y) {z} <!> $(shell ls) @,']
)
def test_each_stage_is_made_once_after_its_inputs(tmp_path: Path, store: str) -> None:
    first = make(tmp_path, store)
    assert first.returncode == 0, first.stderr
    assert (tmp_path / store / "made").read_text().split() == [ROOT.key, LEAF.key]
    assert "Nothing to be done" in make(tmp_path, store).stdout


def test_a_record_that_is_there_is_never_made_again_whatever_its_time(tmp_path: Path) -> None:
    records = tmp_path / "store" / "records"
    records.mkdir(parents=True)
    (records / f"{LEAF.key}.json").touch()
    assert make(tmp_path, "store").returncode == 0
    assert (tmp_path / "store" / "made").read_text().split() == [ROOT.key]


def test_another_command_may_take_the_place_of_backbench(tmp_path: Path) -> None:
    done = make(tmp_path, "store", "BACKBENCH=env A=b ./fake")
    assert "env A=b ./fake run " in done.stdout
    assert done.returncode == 0


@pytest.mark.parametrize("store", ["a%b", "a;b", "a*b", "a[b]", "a\\b", "a\nb", "a\tb"])
def test_a_folder_that_make_cannot_name_is_refused(store: str) -> None:
    with pytest.raises(UsageError, match="GNU make cannot name files there"):
        makefile(PLAN, ["backbench", "run"], store)
