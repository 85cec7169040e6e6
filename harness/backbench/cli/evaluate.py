"""``backbench evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from backbench.cli import common
from backbench.cli.options import encoder, ending, running, shared
from backbench.evaluation.request import EncoderRequest, prepare
from backbench.external.layouts import LAYOUTS

_LAYOUTS = "\n\n".join(f"{layout.name}: {layout.summary}." for layout in LAYOUTS.values())


@click.command("evaluate", epilog=f"Layouts:\n\n{_LAYOUTS}")
@shared.benchmark_argument
@encoder.encoder_options
@click.option(
    "--attack",
    "attacks",
    multiple=True,
    metavar="NAME",
    help="Attack of the file whose trigger is shown. Default: none.",
)
@click.option("--dataset", metavar="NAME", help="Dataset of the file. Default: the only one.")
@click.option(
    "--evaluator",
    "evaluators",
    multiple=True,
    metavar="NAME",
    help="Evaluator of the file. Default: all that its matrix uses.",
)
@click.option("--seed", type=click.IntRange(min=0), help="Default: the first of the file.")
@shared.store_option
@running.run_options
@shared.formats("table", "json", "csv", "markdown", "latex")
def command(file: Path, store: Path, style: str, **given: Any) -> None:
    """Evaluate an encoder that was trained elsewhere.

    The dataset, the attacks whose triggers are shown, and the evaluators are those of BENCHMARK
    (default: benchmarks.toml). Its images and triggers are shared with `backbench run` in the
    same store. The row is marked: what an external encoder has seen is not known.

    Weights are read without running anything that is in the file. Every tensor of the network has
    to come out of it, and none of its backbone's may be left over.
    """
    how = running.pop_how(given)
    experiment = common.load(file, None, trains=False)
    evaluation = prepare(experiment.benchmark, EncoderRequest(**given))
    for note in evaluation.notes:
        click.echo(note, err=True)
    run = experiment.run_plan(evaluation.plan, store=store, progress=True, **how)
    ending.finish(run, store, style)
