"""``backbench plan``."""

from __future__ import annotations

from pathlib import Path

import click

from backbench.benchmark.config import notes_on
from backbench.cli import common, notices
from backbench.cli.options import changes, shared


@click.command("plan")
@shared.benchmark_argument
@shared.profile_option
@shared.store_option
@shared.formats("table", "json", "make")
@click.option("--stages", "list_stages", is_flag=True, help="List every stage.")
@click.option(
    "--visibility",
    is_flag=True,
    help="Estimate how often each trigger survives the crops of each method's views.",
)
@click.option(
    "--cluster",
    metavar="NxM[xDEVICE]",
    help="Simulate the rest on N machines with M stages at a time each, by the times in the "
    "store's records, of DEVICE if it is given: 4x8xA100.",
)
def command(
    file: Path,
    profile: str | None,
    store: Path,
    style: str,
    *,
    list_stages: bool,
    visibility: bool,
    cluster: str | None,
) -> None:
    """Show cells and stages: what is cached, what is shared, what the rest costs.

    Runs nothing, and writes nothing but the hashes of images into a store that is there.
    """
    experiment = common.load(file, profile)
    planned = experiment.plan(store=store, keep_hashes=True)
    if planned.trains_on_poison and not visibility:
        notices.warn_of_triggers(experiment)
    common.say("note", notes_on(experiment.benchmark, content=True))
    command = changes.run_words(file, store, profile)
    if style == "make":
        click.echo(planned.makefile(command), nl=False)
        return
    text = planned.table(
        style, stages=list_stages, visibility=visibility, cluster=cluster, command=command
    )
    click.echo(text)
