"""``backbench store gc``."""

from __future__ import annotations

from pathlib import Path

import click

from backbench.cli import common
from backbench.cli.options import shared
from backbench.cli.options.paths import UserPath
from backbench.errors import UsageError, counted, printable
from backbench.execution.slurm.folders import unended
from backbench.store import leases
from backbench.store.gc import leftovers
from backbench.store.store import Store
from backbench.system import files


@click.command("gc")
@click.argument("benchmarks", metavar="[BENCHMARK]...", type=UserPath(), nargs=-1)
@shared.store_option
@click.option("--dry-run", is_flag=True, help="Only list what would be removed.")
def command(benchmarks: tuple[Path, ...], store: Path, *, dry_run: bool) -> None:
    """Remove artifacts without record, checkpoints of unfinished stages, half-written files.

    A checkpoint is kept if a BENCHMARK has its stage. Nothing is removed that a record names,
    nothing of a stage that a job of a killed run may still make, and nothing while a run uses the
    store.
    """
    where = Store(store)
    if not where.exists:
        raise UsageError(f"{store}: there is no store: say where it is with --store")
    with where.held():
        wanted = {
            stage.key
            for file in benchmarks
            for stage in common.load(file, None, every=True).plan(store=store).stages
        }
        living, waiting = where.being_made() | leases.living(where.root), unended(where)
        if elsewhere := living | waiting:
            kept = counted(len(elsewhere), "stage")
            common.say("note", [f"what jobs need that may still make {kept} is kept"])
        found = leftovers(where, wanted | waiting, living)
        for one in found:
            if not dry_run:
                files.remove(one.path)
            click.echo(printable(f"{one.path}: {one.sort}, {one.size} bytes"))
    verb = "would be removed" if dry_run else "removed"
    click.echo(f"{len(found)} {verb}, {sum(one.size for one in found)} bytes")
