"""``backbench run``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from backbench.benchmark.config import notes_on
from backbench.cli import common, notices
from backbench.cli.options import ending, running, shared, stages


@click.command("run")
@shared.benchmark_argument
@shared.profile_option
@shared.store_option
@running.run_options
@stages.stage_option
@click.option(
    "--refresh",
    type=click.Choice(["outdated"]),
    help="outdated: repeat what an older revision of a plugin made.",
)
@click.option(
    "--redo",
    metavar="STAGE|PLUGIN",
    multiple=True,
    help="Make stages again, and all that depend on them: a key or its beginning, a printed name, "
    "a kind such as pretrain, or a plugin. Repeatable.",
)
def command(file: Path, profile: str | None, store: Path, refresh: str | None, **how: Any) -> None:
    """Run what is missing, then show the leaderboard.

    Each distinct stage runs once; what is in the store is not run again. A failed stage stops
    only the cells that need it. Ctrl-C leaves a store that the same command continues.
    """
    how |= running.pop_how(how)
    if names := how.pop("stages"):
        stages.run_only(common.load(file, profile), names, store=store, refresh=refresh, **how)
        return
    experiment = common.load(file, profile)
    notices.warn_of_triggers(experiment)
    run = experiment.run(store=store, refresh=refresh is not None, progress=True, **how)
    common.say("note", notes_on(experiment.benchmark, content=True))
    notices.warn_of_origins(experiment, run.plan, store)
    if refresh and not run.plan.cells:
        click.echo("nothing is outdated", err=True)
    ending.finish(run, store)
