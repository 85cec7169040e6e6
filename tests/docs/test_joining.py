"""What a newcomer reads and runs first: the map of rooms, the lock file, the workflow."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "harness" / "backbench"


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_map_has_every_room_and_no_other() -> None:
    _, _, section = text("CONTRIBUTING.md").partition("## Map of rooms\n")
    table, _, _ = section.partition("\n`plugins/`")
    first = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    named = {name.rstrip("/") for cell in first for name in re.findall(r"`([\w/]+)`", cell)}
    folders = {one.name for one in PACKAGE.iterdir() if (one / "__init__.py").is_file()}
    modules = {one.stem for one in PACKAGE.glob("*.py")} - {"__init__", "__main__"}
    assert named == folders | modules


def test_the_lock_file_has_every_dependency_and_names_no_host() -> None:
    lock = text("requirements.lock")
    pinned = set(re.findall(r"^([\w.-]+)==", lock, re.MULTILINE))
    wanted = tomllib.loads(text("pyproject.toml"))["project"]["dependencies"]
    missing = {re.split(r"[><=\[]", one)[0] for one in wanted} - pinned
    assert not missing, "make requirements.lock again, by the command in its first lines"
    assert not re.search(r"https?://|file:|^-", lock, re.MULTILINE)


def test_the_workflow_runs_what_contributors_run() -> None:
    assert "bash .ci/run" in text(".github/workflows/ci.yml")
    classifiers = tomllib.loads(text("pyproject.toml"))["project"]["classifiers"]
    versions = re.findall(r"Python :: (3\.\d+)", " ".join(classifiers))
    assert f"python: {versions}".replace("'", '"') in text(".github/workflows/ci.yml")
