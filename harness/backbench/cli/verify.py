"""``backbench verify``."""

from __future__ import annotations

from pathlib import Path

import click

from backbench.cli import common
from backbench.cli.options import shared
from backbench.cli.options.changes import set_option
from backbench.cli.options.paths import UserPath
from backbench.errors import ExitCode, UsageError
from backbench.plugin.registry import load_registry
from backbench.store.store import Store
from backbench.verification.bundle import open_bundle
from backbench.verification.bundle_check import CANNOT_PROVE, verify_bundle
from backbench.verification.store_check import verify_store


@click.command("verify")
@click.argument("target", metavar="[BENCHMARK | BUNDLE.zip]", type=UserPath(), required=False)
@shared.profile_option
@set_option
@shared.store_option
def command(target: Path | None, profile: str | None, store: Path) -> int:
    """Check that what is there is what its records say.

    Of the store: hashes every file again, recomputes every key, derives datasets and poisons
    again bit for bit, and recomputes every metric from the stored predictions. With BENCHMARK, of
    the stages of this file only.

    Of a BUNDLE.zip: recomputes hashes, keys and metrics. Nothing in it is run or unpacked to disk.

    Names the first thing that differs of each stage; exit code 1 if any does.
    """
    is_bundle = target is not None and target.suffix == ".zip"
    if target is not None and is_bundle:
        with open_bundle(target) as bundle:
            found = verify_bundle(bundle)
    else:
        experiment = None if target is None else common.load(target, profile)
        if not Store(store).exists:
            raise UsageError(f"{store}: there is no store: say where it is with --store")
        if experiment is None:
            found = verify_store(Store(store), load_registry())
        else:
            planned = experiment.plan(store=store)
            found = verify_store(planned.store, planned.experiment.registry, planned.plan)
            if planned.missing:
                counts = f"{len(planned.missing)} of {len(planned.stages)}"
                click.echo(f"{counts} stages have not been run", err=True)
    click.echo("\n".join(found.lines(str(target) if is_bundle else Store(store).name)))
    if is_bundle and not found.differs:
        click.echo(CANNOT_PROVE, err=True)
    return ExitCode.FAILED if found.differs else ExitCode.OK
