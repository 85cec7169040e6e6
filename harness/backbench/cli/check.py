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
@shared.store_option
def command(file: Path, profile: str | None, store: Path) -> None:
    """Validate a benchmark file; report all problems at once.

    Reads BENCHMARK (default: benchmarks.toml) and the datasets it names, and runs nothing. Exit
    code 2 if there is a problem. Says how many images there are of each class, and what is
    passed over. Files of encoders that the store remembers are not read again.
    """
    from backbench.report.image_sets import datasets_text
    from backbench.store.store import Store

    benchmark = common.load(file, profile).benchmark
    if benchmark.encoders and not Store(store).exists:
        read = counted(len(benchmark.encoders), "encoder")
        common.say("note", [f"{store}: no store is there, so the files of {read} were read anew"])
    click.echo(datasets_text(benchmark))
    click.echo(f"{file}: {benchmark.name}: {counted(len(benchmark.cells), 'cell')}, no problem")
