"""``backbench export``."""

from __future__ import annotations

from pathlib import Path

import click

from backbench.cli import common
from backbench.cli.options import shared
from backbench.cli.options.paths import UserPath
from backbench.errors import ExitCode
from backbench.verification.exporting import export_bundle


@click.command("export")
@shared.benchmark_argument
@shared.profile_option
@shared.store_option
@click.option(
    "--out",
    type=UserPath(dir_okay=False),
    default=Path("bundle.zip"),
    show_default=True,
    help="The bundle.",
)
def command(file: Path, profile: str | None, store: Path, out: Path) -> int:
    """Write what others need to check the numbers of BENCHMARK: one ZIP file.

    Records, predictions, counts by class, manifests of poisons, the plan, the environments and the
    benchmark file; no images and no weights. The same store gives the same bytes.
    """
    planned = common.load(file, profile).plan(store=store)
    missing, damaged = export_bundle(
        planned.plan,
        planned.store,
        file,
        out,
        profile=profile,
        changes=planned.experiment.benchmark.changes,
    )
    common.say("left out, with all that depend on it", damaged)
    if missing:
        what = "are not in the bundle" if damaged else "have not been run"
        click.echo(f"{len(missing)} of {len(planned.stages)} stages {what}", err=True)
    click.echo(f"{out}: {len(planned.stages) - len(missing)} stages, {out.stat().st_size} bytes")
    return ExitCode.FAILED if damaged else ExitCode.OK
