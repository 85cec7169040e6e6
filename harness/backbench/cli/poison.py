"""``backbench poison``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from backbench.cli import common
from backbench.cli.options.paths import UserPath
from backbench.cli.options.poison import poison_options
from backbench.plugin.registry import load_registry


@click.command("poison")
@click.argument("file", metavar="CONFIG", type=UserPath())
@poison_options
@click.option(
    "--jobs", type=click.IntRange(1, 4096), metavar="N", help="Processes.  [default: all cores]"
)
def command(file: Path, jobs: int | None, **given: Any) -> None:
    """Write a poisoned dataset as image files and lists.

    CONFIG is a benchmark file, a TOML file with a table [poison], or one of the published
    configuration files as it is. What was interrupted is continued.
    """
    from backbench.poison.files.planning import make_plan
    from backbench.poison.files.request import read_request
    from backbench.poison.files.writing import describe, write
    from backbench.system.cores import core_count

    registry = load_registry()
    values = {name: value for name, value in given.items() if value is not None}
    request = read_request(file, values, registry)
    common.say("warning", registry.failures)
    common.say("note", request.notes)
    plan = make_plan(request)
    total = sum(len(group.indices) for group in plan.groups)
    quiet = not sys.stderr.isatty()
    with click.progressbar(length=total, label="images", file=sys.stderr, hidden=quiet) as bar:
        summary = write(plan, jobs or core_count(), bar.update)
    for line in describe(plan, summary):
        click.echo(line)
