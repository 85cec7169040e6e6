"""``backbench rescore``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from backbench.benchmark.config import Benchmark
from backbench.cli import common
from backbench.cli.show import show_board
from backbench.errors import UsageError
from backbench.metrics import Denominator
from backbench.plugin import MetricInfo
from backbench.plugin.registry import suggestion
from backbench.results.leaderboard import build, select
from backbench.results.rescore import Rescorer, Rescoring
from backbench.store.store import Store


@click.command("rescore")
@common.benchmark_argument
@common.profile_option
@common.store_option
@common.formats("table", "json", "csv", "markdown", "latex", "html")
@click.option(
    "--asr",
    "denominator",
    type=click.Choice(["all-images", "other-classes"]),
    help="Which images ASR is a share of.",
)
@click.option("--target", metavar="CLASS", help="Class that is taken for the target.")
@click.option(
    "--metric", "metrics", multiple=True, metavar="NAME", help="A metric of a plugin, besides."
)
@click.option(
    "--filter", "filters", multiple=True, metavar="EXPR", help="As of show; all must hold."
)
@click.option("--sort", metavar="NAME", help="Field or metric; -NAME for descending.")
def command(  # noqa: PLR0917 - click passes them by name
    file: Path,
    profile: str | None,
    store: Path,
    style: str,
    denominator: Denominator | None,
    target: str | None,
    metrics: tuple[str, ...],
    filters: tuple[str, ...],
    sort: str | None,
) -> None:
    """Show the leaderboard counted differently, from the predictions that are stored.

    Needs no model and changes nothing: another denominator of ASR, another target class, metrics of
    plugins. Below the table stands what was rescored.
    """
    if denominator is None and target is None and not metrics:
        raise UsageError("rescore: say what to count differently: --asr, --target or --metric")
    registry, benchmark = common.load(file, profile)
    if target is not None:
        _check_target(benchmark, target)
    found = tuple(registry.find(MetricInfo.kind, name) for name in dict.fromkeys(metrics))
    how = Rescoring(denominator, target, found)
    where = Store(store)
    plan = common.plan_of(benchmark, where, keep_hashes=False)
    rescorer = Rescorer(where, how)
    columns = (*registry.columns(), *how.columns)
    board = build(
        plan,
        rescorer.record,
        where.failure,
        extra=columns,
        outcomes_of=rescorer.outcomes,
    )
    if not any(row.seeds for row in board.rows):
        raise UsageError(f"{store}: no finished cell of {benchmark.name!r} to rescore")
    show_board(replace(select(board, filters, sort), rescored=how.line), style)


def _check_target(benchmark: Benchmark, target: str) -> None:
    for name, metadata in benchmark.metadata.items():
        if target not in metadata.classes:
            hint = suggestion(target, metadata.classes)
            raise UsageError(f"--target: dataset {name!r} has no class {target!r}{hint}")
