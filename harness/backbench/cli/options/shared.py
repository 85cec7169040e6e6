"""Options for the benchmark, the store, and how stages run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from backbench.benchmark import DEFAULT_FILE
from backbench.cli.options.changes import set_option
from backbench.cli.options.paths import StorePath, UserPath
from backbench.store import DEFAULT_STORE

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


profile_option = click.option(
    "--profile", metavar="NAME", help="Only the part of the matrix that this profile keeps."
)

store_option = click.option(
    "--store",
    type=StorePath(file_okay=False),
    metavar="FOLDER|URL",
    default=DEFAULT_STORE,
    envvar="BACKBENCH_STORE",
    show_default=True,
    show_envvar=True,
    help="Folder of artifacts and records, or s3://bucket/prefix.",
)


def together(*options: Decorator) -> Decorator:
    """Return one decorator that adds several options."""

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return add


benchmark_argument = together(
    click.argument("file", metavar="[BENCHMARK]", type=UserPath(), default=DEFAULT_FILE), set_option
)


def formats(*names: str) -> Decorator:
    """Return the ``--format`` option."""
    how: dict[str, Any] = {"type": click.Choice(names), "default": names[0], "show_default": True}
    return click.option("--format", "style", **how, help="Form of the output.")
