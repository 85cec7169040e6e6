"""``backbench check``."""

from __future__ import annotations

from pathlib import Path

import click

from backbench.cli import common
from backbench.cli.options import shared
from backbench.errors import counted


@click.command("check")
@shared.benchmark_argument
@shared.profile_option
def command(file: Path, profile: str | None) -> None:
    """Validate a benchmark file; report all problems at once.

    Reads BENCHMARK (default: benchmarks.toml) and the datasets it names, and runs nothing. Exit
    code 2 if there is a problem. Says how many images there are of each class, and what is
    passed over.
    """
    from backbench.report.image_sets import datasets_text

    benchmark = common.load(file, profile).benchmark
    click.echo(datasets_text(benchmark))
    click.echo(f"{file}: {benchmark.name}: {counted(len(benchmark.cells), 'cell')}, no problem")
