"""``backbench store sync``."""

from __future__ import annotations

from pathlib import Path

import click

from backbench.cli import common
from backbench.cli.options.paths import StorePath
from backbench.errors import ExitCode, UsageError, printable
from backbench.store.store import Store
from backbench.store.sync import copy_missing, missing_in


@click.command("sync")
@click.argument("source", metavar="FROM", type=StorePath(file_okay=False))
@click.argument("target", metavar="TO", type=StorePath(file_okay=False))
def command(source: Path, target: Path) -> int:
    """Copy the finished stages of the store FROM that the store TO lacks.

    Each is a folder or a URL such as s3://bucket/prefix. Every file is compared with its record;
    a damaged one is named, and its stage is not copied: exit code 1. After an interruption, the
    same command copies the rest.
    """
    ours, theirs = Store(source), Store(target)
    if not ours.exists:
        raise UsageError(f"{source}: there is no store: name one, then the one to copy to")
    missing = missing_in(theirs, ours)
    copied = size = 0
    problems = []
    for one in copy_missing(missing, ours, theirs):
        if one.problem:
            problems.append(one.problem)
            continue
        copied, size = copied + 1, size + one.size
        click.echo(printable(f"{one.label}: {one.size} bytes"))
    common.say("damaged", problems)
    there = len(ours.recorded()) - copied - len(problems)
    click.echo(f"{copied} copied, {size} bytes; {there} were there, {len(problems)} are damaged")
    return ExitCode.FAILED if problems else ExitCode.OK
