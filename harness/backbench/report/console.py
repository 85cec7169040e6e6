"""The console that tables and progress are printed on."""

from __future__ import annotations

from typing import Any, Final

from rich.console import Console

#: Columns of a console that states none.
_WIDTH: Final = 80


def make_console(**settings: Any) -> Console:
    """Return a console; one without columns, as ``COLUMNS=0`` has it, would print nothing."""
    console = Console(**settings)
    if console.width < 1:
        console.width = _WIDTH
    return console
