"""``backbench import``."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from backbench.benchmark.config import DEFAULT_FILE
from backbench.cli import common
from backbench.errors import ExitCode, UsageError
from backbench.store.store import Store
from backbench.verification.exporting import export_bundle
from backbench.verification.imported import import_bundle


@click.command("import")
@click.argument(
    "sources",
    metavar="BUNDLE.zip|STORE…",
    type=click.Path(path_type=Path),
    nargs=-1,
    required=True,
)
@click.option(
    "--benchmark",
    "file",
    type=click.Path(path_type=Path),
    default=DEFAULT_FILE,
    show_default=True,
    help="Of a STORE, the benchmark file whose stages are taken.",
)
@common.profile_option
@common.store_option
def command(sources: tuple[Path, ...], file: Path, profile: str | None, store: Path) -> None:
    """Show the rows of other people's bundles, or of another store, beside ours.

    Each source is verified first, and kept in the store if nothing differs. `backbench show` of
    the benchmark of the same name marks its rows with where they come from. Our own records are
    not touched.
    """
    where = Store(store)
    refused = 0
    for source in sources:
        if source.is_dir():
            refused += not _import_store(source, file, profile, where)
        else:
            refused += not _import(source, where)
    if refused:
        raise click.exceptions.Exit(ExitCode.FAILED)


def _import_store(source: Path, file: Path, profile: str | None, where: Store) -> bool:
    """Import what a store has of a benchmark, by way of a bundle."""
    theirs = Store(source)
    if not theirs.exists:
        raise UsageError(f"{source}: not a backbench store")
    if source.resolve() == where.root.resolve():
        raise UsageError(f"{source}: is the store to import into")
    _, benchmark = common.load(file, profile)
    plan = common.plan_of(benchmark, theirs, keep_hashes=False)
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder, f"{source.resolve().name}.zip")
        export_bundle(plan, theirs, file, bundle, profile=profile)
        return _import(bundle, where)


def _import(source: Path, where: Store) -> bool:
    """Import a bundle; say whether it could be."""
    origin, found = import_bundle(source, where)
    for finding in found.differs:
        click.echo(f"differs: {finding}")
    if found.differs:
        click.echo(f"not imported: {origin}: {len(found.differs)} things differ", err=True)
        return False
    click.echo(f"imported: {origin}: {found.checked} stages")
    return True
