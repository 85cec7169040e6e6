"""``backbench compare``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from backbench.benchmark.config import DEFAULT_FILE
from backbench.cli import common
from backbench.cli.show import board_of
from backbench.errors import ExitCode, UsageError
from backbench.report.comparison import as_json, markdown, print_table
from backbench.report.numbers import number
from backbench.results.compare import METRICS, Comparison, Limit, broken, compare, limit, sides
from backbench.results.leaderboard import Leaderboard, select
from backbench.results.statistics import FEW
from backbench.store.store import Store


@click.command("compare")
@click.argument("words", metavar="[A B] [BENCHMARK]", nargs=-1)
@common.profile_option
@common.store_option
@click.option(
    "--against",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    metavar="DIRECTORY",
    help="Compare --store with this store of the same benchmark, instead of A with B.",
)
@click.option(
    "--filter",
    "filters",
    multiple=True,
    metavar="EXPR",
    help="Only these rows: evaluator=linear, attack!=none …; all must hold.",
)
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="NAME",
    help=f"What to compare; may be repeated.  [default: {', '.join(METRICS)}]",
)
@click.option(
    "--fail-on",
    "limits",
    multiple=True,
    metavar="EXPR",
    help="Exit 1 if a difference A - B is so beyond doubt: 'asr > +0.02'; may be repeated.",
)
@common.formats("table", "json", "markdown")
def command(  # noqa: PLR0917 - click passes them by name
    words: tuple[str, ...],
    profile: str | None,
    store: Path,
    against: Path | None,
    filters: tuple[str, ...],
    metrics: tuple[str, ...],
    limits: tuple[str, ...],
    style: str,
) -> int:
    """Compare two methods, attacks, defenses or stores, seed by seed and image by image.

    A and B are values of one field: `backbench compare method=byol method=moco-v2`. Rows that are
    equal in everything else are paired. With --against, A is --store and B is --against.
    """
    selectors, file = _read(words, with_stores=against is not None)
    bounds = [limit(text) for text in limits]
    registry, benchmark = common.load(file, profile)

    def board(at: Path) -> Leaderboard:
        where = Store(at)
        plan = common.plan_of(benchmark, where, keep_hashes=False)
        found = board_of(registry, plan, where)
        own = tuple(row for row in found.rows if not (row.origin or row.outdated))
        found = replace(found, rows=own)  # others' rows, or older ones, would stand beside ours
        if not any(row.seeds for row in found.rows):
            raise UsageError(f"{at}: no finished cell of {benchmark.name!r} yet")
        return select(found, filters, None)

    field: str | None = None
    if against is None:
        left_name, right_name = selectors
        left, right, field = sides(board(store), *selectors)
    else:
        left_name, right_name = str(store), str(against)
        left, right = board(store), board(against)
    wanted = dict.fromkeys([*(metrics or METRICS), *(one.metric for one in bounds)])
    found = compare(left, right, tuple(wanted), field)
    if style == "table":
        print_table(found, f"{left_name} less {right_name}")
    elif style == "markdown":
        click.echo(markdown(found, f"{left_name} less {right_name}"))
    _warn(found)
    exceeded: list[str] = []
    try:
        exceeded = [_sentence(*pair) for pair in broken(found, bounds)]
    finally:  # what was found is told also where it cannot be judged
        if style == "json":
            click.echo(as_json(found, left_name, right_name, exceeded))
    for sentence in exceeded:
        click.echo(f"backbench: {sentence}", err=True)
    return ExitCode.FAILED if exceeded else ExitCode.OK


def _read(words: tuple[str, ...], *, with_stores: bool) -> tuple[list[str], Path]:
    """Tell the two sides from the benchmark file."""
    selectors = [word for word in words if "=" in word]
    files = [word for word in words if "=" not in word]
    if len(files) > 1:
        raise UsageError(f"compare: {files[0]!r} is no side: write FIELD=VALUE, as in method=byol")
    if with_stores and selectors:
        raise UsageError("compare: either two sides, or --against a store; choose with --filter")
    if not with_stores and len(selectors) != 2:
        raise UsageError(
            "compare: name two sides, as in method=byol method=moco-v2, or a store with --against"
        )
    return selectors, Path(files[0]) if files else DEFAULT_FILE


def _warn(found: list[Comparison]) -> None:
    """Say on stderr which comparisons can say little."""
    untested = sum(one.p_value is None for one in found)
    few = sum(one.difference.n < FEW for one in found) - untested
    if untested:
        click.echo(
            f"warning: {untested} of {len(found)} comparisons have one seed in common and cannot "
            "be tested: run at least two, better three",
            err=True,
        )
    if few:
        click.echo(
            f"warning: {few} of {len(found)} comparisons have two seeds: run at least three",
            err=True,
        )


def _sentence(bound: Limit, found: Comparison) -> str:
    value = number(found.difference.mean, 4)
    return f"{found.label} exceeds {bound.text!r} beyond doubt: the difference is {value}"
