"""Paths on the command line: ``~`` is a home folder, as in a benchmark file."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import click

from backbench.system.files import read_failure


class UserPath(click.Path):
    """A path; ``--store=~/s`` is below the home folder, which no shell puts in there."""

    def __init__(self, **how: Any) -> None:
        super().__init__(path_type=Path, **how)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path; fail if no file or folder can be there, or a pipe or a device is."""
        if not value:  # "$UNSET": the current folder would be written to
            self.fail("the path is empty; write ./ for this folder", param, ctx)
        path = os.path.expanduser(value)  # noqa: PTH111 - Path.expanduser raises
        if os.fspath(path).startswith("~"):
            self.fail(f"there is no home folder for {value!r}; write ./{value}", param, ctx)
        try:
            mode = os.stat(path).st_mode  # noqa: PTH116 - path may be a str
        except FileNotFoundError:  # of what is missing, the command says what it should be
            if os.path.islink(path):  # noqa: PTH114
                target = os.readlink(path)  # noqa: PTH115
                self.fail(f"{value}: a link to {target!r}, which is not there", param, ctx)
        except (OSError, ValueError) as error:
            self.fail(f"{value}: {read_failure(error)}", param, ctx)
        else:
            if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                self.fail(f"{value}: not a regular file", param, ctx)
        return super().convert(path, param, ctx)


class StorePath(UserPath):
    """A store: its folder, or the URL of a storage, which becomes the folder that mirrors it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the folder; a URL is opened, and the records there are fetched."""
        from backbench.store.location import is_url, located

        return located(value) if is_url(value) else super().convert(value, param, ctx)
