"""``backbench export``."""

from __future__ import annotations

from pathlib import Path

import click

from backbench.cli import common
from backbench.store.store import Store
from backbench.verification.exporting import export_bundle


@click.command("export")
@common.benchmark_argument
@common.profile_option
@common.store_option
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("bundle.zip"),
    show_default=True,
    help="The bundle.",
)
def command(file: Path, profile: str | None, store: Path, out: Path) -> None:
    """Write what others need to check the numbers of BENCHMARK: one ZIP file.

    Records, predictions, counts by class, manifests of poisons, the plan, the environments and the
    benchmark file; no images and no weights. The same store gives the same bytes.
    """
    _, benchmark = common.load(file, profile)
    where = Store(store)
    plan = common.plan_of(benchmark, where, keep_hashes=False)
    missing = export_bundle(plan, where, file, out, profile=profile)
    if missing:
        click.echo(f"{len(missing)} of {len(plan.stages)} stages have not been run", err=True)
    click.echo(f"{out}: {len(plan.stages) - len(missing)} stages, {out.stat().st_size} bytes")
