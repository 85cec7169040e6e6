"""Paths on the command line: ``~`` is a home folder, as in a benchmark file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click


class UserPath(click.Path):
    """A path; ``--store=~/s`` is below the home folder, which no shell puts in there."""

    def __init__(self, **how: Any) -> None:
        super().__init__(path_type=Path, **how)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path; fail if the home folder is not known."""
        path = os.path.expanduser(value)  # noqa: PTH111 - Path.expanduser raises
        if os.fspath(path).startswith("~"):
            self.fail(f"there is no home folder for {value!r}; write ./{value}", param, ctx)
        return super().convert(path, param, ctx)
