"""``backbench plugin new``."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from backbench.cli.options.paths import UserPath
from backbench.errors import printable
from backbench.plugin.registry import load_registry
from backbench.scaffold import TEMPLATES, new_plugin


@click.command("new")
@click.argument("kind", type=click.Choice(list(TEMPLATES)))
@click.argument("name")
@click.option(
    "--out",
    type=UserPath(file_okay=False),
    default=Path(),
    show_default="this folder",
    help="Where the new folder is made.",
)
def command(kind: str, name: str, out: Path) -> None:
    """Write a plugin that works as it stands into the new folder NAME.

    NAME is in kebab-case: the plugin, its distribution and its folder have it. The folder has the
    code, its options, a test, and a benchmark of half a minute.
    """
    folder = new_plugin(kind, name, out, load_registry())
    where = shlex.quote(str(folder))
    benchmark = shlex.quote(str(folder / "benchmark.toml"))
    click.echo(printable(f"{folder} is a working {kind}. What is next:"))
    for line in (
        f"pip install -e {where}",
        f"backbench run {benchmark}",
        f"backbench show {benchmark}",
    ):
        click.echo(printable(f"  {line}"))
