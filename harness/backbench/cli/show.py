"""``backbench show``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from backbench.benchmark.config import Benchmark
from backbench.cli import common
from backbench.errors import UsageError
from backbench.model import Plan
from backbench.plugin.registry import Registry
from backbench.report.detectors import Sheet, detection_sheet, print_sheet, trade_off_sheet
from backbench.report.tables import print_board
from backbench.report.trace import explain, only_row
from backbench.results.leaderboard import FIELDS, Leaderboard, build, select
from backbench.results.outcomes import predictions_in, reader
from backbench.results.outdated import Outdatedness
from backbench.results.over_attacks import over_attacks
from backbench.results.reported import add_reported
from backbench.store.store import Store
from backbench.verification.imported import with_imported


@click.command("show")
@common.benchmark_argument
@common.profile_option
@common.store_option
@common.formats("table", "json", "csv", "markdown", "latex", "html")
@click.option("--sort", metavar="NAME", help="Field or metric; -NAME for descending.")
@click.option(
    "--filter",
    "filters",
    multiple=True,
    metavar="EXPR",
    help="method=byol, attack!=none, asr>0.1 …; all must hold.",
)
@click.option(
    "--over",
    type=click.Choice(["attacks"]),
    help="One row for all attacks of a method: columns of their worst case and of their mean.",
)
@click.option(
    "--group",
    "by",
    type=click.Choice([*FIELDS, "nothing"]),
    default="evaluator",
    show_default=True,
    help="One table for each value of this field.",
)
@click.option(
    "--why",
    metavar="ROW",
    help="How a row came about, from the file to the predictions: method=byol,attack=none,… "
    "until one row is left.",
)
@click.option(
    "--detection",
    "view",
    flag_value="detection",
    help="Instead: what the defenses found and dropped, and what they cost.",
)
@click.option(
    "--trade-off",
    "view",
    flag_value="trade-off",
    help="Instead: accuracy lost against ASR removed, for each defense.",
)
def command(  # noqa: PLR0917 - click passes them by name
    file: Path,
    profile: str | None,
    store: Path,
    style: str,
    sort: str | None,
    filters: tuple[str, ...],
    over: str | None,
    by: str,
    why: str | None,
    view: str | None,
) -> None:
    """Show the leaderboard of what is in the store.

    Works at any time, also while a run is going on: what is missing is shown as missing.
    """
    if why is not None and over:
        raise UsageError("show: --why is about one row of the matrix: leave out --over")
    if view == "trade-off" and over:
        raise UsageError("show: --trade-off is about each attack: leave out --over")
    registry, benchmark = common.load(file, profile)
    where = Store(store)
    plan = common.plan_of(benchmark, where, keep_hashes=False)
    if view == "detection":
        _show_detection(plan, where, filters, sort, style)
        return
    board = select(board_of(registry, plan, where), filters, None if over else sort)
    if why is not None:
        own = replace(board, rows=tuple(row for row in board.rows if not row.origin))
        row = only_row(select(own, why.split(","), None), why)
        click.echo("\n".join(explain(row, plan, where, registry, file, profile=profile)))
        return
    if over:
        board = select(over_attacks(board), [], sort)
    if not any(row.seeds or row.problem for row in board.rows):
        raise UsageError(_nothing(benchmark, file, store, filtered=bool(filters)))
    if view == "trade-off":
        _show_sheet(trade_off_sheet(board), style, "no row with a defense beside one without")
        return
    show_board(board, style, None if by == "nothing" else by)


def _show_detection(
    plan: Plan, store: Store, filters: tuple[str, ...], sort: str | None, style: str
) -> None:
    if filters or sort:
        raise UsageError("--detection shows every defense: leave out --filter and --sort")
    _show_sheet(detection_sheet(plan, store.record), style, "no defense has run yet")


def _show_sheet(sheet: Sheet, style: str, nothing: str) -> None:
    from rich.console import Console

    if not sheet.lines:
        raise UsageError(f"{sheet.title}: {nothing}")
    print_sheet(sheet, style, Console())


def board_of(registry: Registry, plan: Plan, store: Store) -> Leaderboard:
    """Return the leaderboard of a plan: what is in the store, what others have reported of it.

    The rows of imported bundles come last.
    """
    columns, found = registry.columns(), Outdatedness(plan, store)
    board = build(
        plan,
        found.current,
        store.failure,
        extra=columns,
        outcomes_of=reader(found.record, predictions_in(store)),
        older_of=found.older,
    )
    return with_imported(add_reported(board, plan), plan, store, columns)


def show_board(board: Leaderboard, style: str = "table", by: str | None = "evaluator") -> None:
    """Print a leaderboard on stdout, and on stderr why rows are incomplete."""
    from rich.console import Console

    print_board(board, style, by, Console())
    for problem in dict.fromkeys(row.problem for row in board.rows if row.problem):
        click.echo(f"failed: {problem}", err=True)


def _nothing(benchmark: Benchmark, file: Path, store: Path, *, filtered: bool) -> str:
    if filtered:
        return "--filter: no finished row is left"
    return (
        f"{store}: no finished cell of {benchmark.name!r} yet: "
        f"run `backbench run {file} --store {store}` first"
    )
