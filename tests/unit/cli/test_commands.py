"""Commands are a thin shell: short, and none uses another one."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import backbench.cli
from backbench.cli.root import COMMANDS

FOLDER = Path(backbench.cli.__file__).parent
MODULES = sorted(FOLDER.rglob("*.py"), key=str)

#: What commands may share.
SHARED = tuple(f"backbench.cli.{name}" for name in ("common", "groups", "notices", "options"))


def imported(path: Path) -> set[str]:
    """Return the modules that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{one.name}" for one in node.names}
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(FOLDER)))
def test_a_module_has_at_most_60_lines(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 60


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_imports_no_other_command(name: str) -> None:
    module = COMMANDS[name][0].removeprefix("backbench.cli.")
    files = [FOLDER / f"{module}.py", *FOLDER.glob(f"{module}/*.py")]
    checked = [path for path in files if path.is_file()]
    assert checked
    for path in checked:
        ours = {one for one in imported(path) if one.startswith("backbench.cli.")}
        assert not [one for one in ours if not one.startswith(SHARED)], path
