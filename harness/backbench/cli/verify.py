"""``backbench verify``."""

from __future__ import annotations

from pathlib import Path

import click

from backbench.cli import common
from backbench.errors import ExitCode, UsageError
from backbench.plugin.registry import load_registry
from backbench.store.store import Store
from backbench.verification.bundle import open_bundle
from backbench.verification.bundle_check import CANNOT_PROVE, verify_bundle
from backbench.verification.findings import Findings
from backbench.verification.store_check import verify_store


@click.command("verify")
@click.argument(
    "target", metavar="[BENCHMARK | BUNDLE.zip]", type=click.Path(path_type=Path), required=False
)
@common.profile_option
@common.store_option
def command(target: Path | None, profile: str | None, store: Path) -> None:
    """Check that what is there is what its records say.

    Of the store: hashes every file again, recomputes every key, derives datasets and poisons
    again bit for bit, and recomputes every metric from the stored predictions. With BENCHMARK, of
    the stages of this file only.

    Of a BUNDLE.zip: recomputes hashes, keys and metrics. Nothing in it is run or unpacked to disk.

    Names the first thing that differs of each stage; exit code 1 if any does.
    """
    if target is not None and target.suffix == ".zip":
        with open_bundle(target) as bundle:
            _tell(verify_bundle(bundle), f"{target}: ")
        click.echo(CANNOT_PROVE, err=True)
        return
    where = Store(store)
    if not where.exists:
        raise UsageError(f"{store}: there is no store: say where it is with --store")
    if target is None:
        _tell(verify_store(where, load_registry()), f"{store}: ")
        return
    registry, benchmark = common.load(target, profile)
    plan = common.plan_of(benchmark, where, keep_hashes=False)
    found = verify_store(where, registry, plan)
    missing = len(set(plan.stages) - where.done())
    if missing:
        click.echo(f"{missing} of {len(plan.stages)} stages have not been run", err=True)
    _tell(found, f"{store}: ")


def _tell(found: Findings, where: str) -> None:
    """Print what was found.

    Raises:
        click.exceptions.Exit: If something differs.
    """
    for finding in found.differs:
        click.echo(f"differs: {finding}")
    for finding in found.unchecked:
        click.echo(f"not checked: {finding}")
    count = len(found.differs)
    click.echo(
        f"{where}{found.checked} stages checked, "
        + (f"{count} differ" + "s" * (count == 1) if count else "no difference")
        + (f", {len(found.unchecked)} things could not be checked" if found.unchecked else "")
    )
    if count:
        raise click.exceptions.Exit(ExitCode.FAILED)
