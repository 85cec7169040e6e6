"""``backbench import``."""

from __future__ import annotations

from pathlib import Path

import click

from backbench.benchmark import DEFAULT_FILE
from backbench.cli import common
from backbench.cli.options import shared
from backbench.cli.options.changes import set_option
from backbench.cli.options.paths import UserPath
from backbench.errors import ExitCode
from backbench.store.store import Store
from backbench.verification.imported import import_bundle, import_store


@click.command("import")
@click.argument("sources", metavar="BUNDLE.zip|STORE…", type=UserPath(), nargs=-1, required=True)
@click.option(
    "--benchmark",
    "file",
    type=UserPath(),
    default=DEFAULT_FILE,
    show_default=True,
    help="Of a STORE, the benchmark file whose stages are taken.",
)
@shared.profile_option
@set_option
@shared.store_option
def command(sources: tuple[Path, ...], file: Path, profile: str | None, store: Path) -> int:
    """Show the rows of other people's bundles, or of another store, beside ours.

    Each source is verified first, and kept in the store if nothing differs. `backbench show` of
    the benchmark of the same name marks its rows with where they come from. Our own records are
    not touched.
    """
    where, refused = Store(store), False
    for source in sources:
        if source.is_dir():
            theirs = common.load(file, profile).plan(store=source)
            changes = theirs.experiment.benchmark.changes
            origin, found = import_store(
                theirs.plan, theirs.store, file, where, profile=profile, changes=changes
            )
        else:
            origin, found = import_bundle(source, where)
        for finding in found.differs:
            click.echo(f"differs: {finding}")
        if found.differs:
            refused = True
            click.echo(f"not imported: {origin}: {len(found.differs)} things differ", err=True)
        else:
            click.echo(f"imported: {origin}: {found.checked} stages")
    return ExitCode.FAILED if refused else ExitCode.OK
