"""Folders of unit tests are rooms of the harness."""

from __future__ import annotations

from pathlib import Path

import backbench

TESTS = Path(__file__).parents[1]
HARNESS = Path(backbench.__file__).parent

#: ``ground`` tests the modules beside the rooms.
OTHERS = {"ground", "plugins", "benchmarks"}


def folders(root: Path) -> set[str]:
    """Return the folders below a root that hold Python files, as paths relative to it."""
    return {path.parent.relative_to(root).as_posix() for path in root.rglob("*.py")} - {"."}


def test_unit_tests_lie_in_the_folders_of_their_rooms() -> None:
    tested = {one for one in folders(TESTS) if one.partition("/")[0] not in OTHERS}
    assert tested <= folders(HARNESS)
