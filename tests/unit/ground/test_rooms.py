"""Folders of unit tests are rooms of the harness; no modules import each other in a circle."""

from __future__ import annotations

from graphlib import TopologicalSorter
from pathlib import Path

import grimp

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


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = grimp.build_graph("backbench", cache_dir=None)
    imports = {one: graph.find_modules_directly_imported_by(one) for one in graph.modules}
    TopologicalSorter(imports).prepare()  # a CycleError names the circle


def test_few_modules_lie_beside_the_rooms() -> None:
    beside = {path.stem for path in HARNESS.glob("*.py")}
    rooms = [path for path in HARNESS.iterdir() if (path / "__init__.py").is_file()]
    assert len(beside) <= 8
    assert len(rooms) <= 30
