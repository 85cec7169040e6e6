"""Plugins that are broken on purpose: a module a contract, with one right plugin and many wrong.

Each names what catches it: the test of the contract that fails, the sentence with which the
harness stops, or both.
"""

from __future__ import annotations

import importlib
import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Caught:
    """What catches a broken plugin.

    Args:
        kit: Name of the test of the contract that fails; empty if none does.
        harness: Part of the sentence, a regular expression, with which the harness stops; empty if
            it does not.
    """

    kit: str = ""
    harness: str = ""


def broken(kit: str = "", harness: str = "") -> Any:
    """Mark a class or a function as broken on purpose; its docstring states how."""

    def mark(made: Any) -> Any:
        made.caught = Caught(kit, harness)
        return made

    return mark


def samples_of(module: Any) -> list[Any]:
    """Return what a module marks as broken."""
    return [one for one in vars(module).values() if "caught" in vars_of(one)]


def vars_of(one: Any) -> dict[str, Any]:
    """Return the attributes of an object's own; none where it has no dictionary."""
    return dict(vars(one)) if hasattr(one, "__dict__") else {}


def kit_of(module: Any, sample: Any) -> Any:
    """Make the contract of a module over a plugin; a class of its own forgets other failures."""
    kept = staticmethod(sample) if inspect.isfunction(sample) else sample
    made = {"sample": kept, "__reduce__": lambda _: (_kit_of, (module.__name__, sample))}
    return type("Tested", (module.Kit,), made)()


def _kit_of(module: str, sample: Any) -> Any:
    """Make the contract of a module, by its name, in another process."""
    return kit_of(importlib.import_module(module), sample)


def run(kit: Any, test: str, folder: Path) -> None:
    """Run a test of a contract, with all its parameters."""
    function = getattr(kit, test)
    cases: list[dict[str, Any]] = [{}]
    for mark in getattr(function, "pytestmark", ()):
        names, values = mark.args
        cases = [dict(zip(names, case.values, strict=True)) for case in values]
    for number, case in enumerate(cases):
        given = {"tmp_path": folder / f"{test}-{number}"}
        for path in given.values():
            path.mkdir()
        wanted = inspect.signature(function).parameters
        function(**case, **{name: one for name, one in given.items() if name in wanted})
