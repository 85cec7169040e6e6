"""``backbench reproduce``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from backbench.api.experiment import Experiment
from backbench.benchmark.reproductions.published import published
from backbench.cli import common
from backbench.cli.options import ending, running, shared
from backbench.cli.options.matrix import matrix_options
from backbench.errors import UsageError
from backbench.plugin.registry import load_registry


@click.command("reproduce")
@click.argument("name", metavar="NAME")
@matrix_options
@click.option("--plan", "only_plan", is_flag=True, help="Only say what it costs; run nothing.")
@shared.profile_option
@shared.store_option
@running.run_options
@shared.formats("table", "json", "csv", "markdown", "latex")
def command(
    profile: str | None, store: Path, target: Path | None, style: str, **given: Any
) -> None:
    """Run, or only plan, a published matrix. NAME: chen2025, jia2022, li2023 or saha2022.

    --plan prints cells, stages, image-steps, bytes on disk, and hours by records or a short timing.
    """
    only_plan, how = given.pop("only_plan"), running.pop_how(given)
    if only_plan and style not in {"table", "json"}:
        raise UsageError(f"--format {style}: a plan is printed as a table or as json")
    matrix = published(**given, counts=only_plan, runs=target is None and not only_plan)
    if target is not None:
        matrix.write(target)
        click.echo(f"{target}: edit it, then `backbench run {shlex.quote(str(target))}`")
        return
    registry = load_registry()
    experiment = Experiment(matrix.benchmark(registry, profile), registry, profile)
    common.say("warning", registry.failures)
    for line in matrix.notes:
        click.echo(line, err=not only_plan or style == "json")
    if only_plan:
        planned = experiment.plan(store=store, keep_hashes=True)
        click.echo(planned.table(style, hours_on=how["device"], jobs=how.get("jobs")))
    else:
        ending.finish(experiment.run(store=store, progress=True, **how), store, style)
