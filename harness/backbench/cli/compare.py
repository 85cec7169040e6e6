"""``backbench compare``."""

from __future__ import annotations

from pathlib import Path

import click

from backbench.cli import common, notices
from backbench.cli.options import comparing, shared
from backbench.errors import ExitCode
from backbench.report import comparison
from backbench.results.compare import METRICS, broken, compare, limit, read_sides, sides, unpaired


@click.command("compare")
@click.argument("words", metavar="[A B] [BENCHMARK]", nargs=-1)
@shared.profile_option
@shared.store_option
@comparing.comparing_options
@shared.formats("table", "json", "markdown")
def command(
    words: tuple[str, ...],
    profile: str | None,
    store: Path,
    style: str,
    *,
    against: Path | None,
    filters: tuple[str, ...],
    metrics: tuple[str, ...],
    limits: tuple[str, ...],
) -> int:
    """Compare two methods, attacks, defenses or stores, seed by seed and image by image.

    A and B are values of one field: `backbench compare method=byol method=moco-v2`. Rows that are
    equal in everything else are paired. With --against, A is --store and B is --against.
    """
    selectors, file = read_sides(words, with_stores=against is not None)
    bounds = [limit(text) for text in limits]
    planned = notices.planned_in(common.load(file, profile), store, against)
    left = comparison.comparable(planned.results(), filters, store)
    if against is None:
        names, (left, right, field) = selectors, sides(left, *selectors)
    else:
        names, field = (str(store), str(against)), None
        right = comparison.comparable(planned.experiment.results(store=against), filters, against)
    wanted = tuple(dict.fromkeys([*(metrics or METRICS), *(one.metric for one in bounds)]))
    found, left_out = compare(left, right, wanted, field), unpaired(left, right, wanted, field)
    if style != "json":
        comparison.show(found, " less ".join(names), style)
    common.say("failed", {row.problem: row for row in (*left.rows, *right.rows) if row.problem})
    common.say("warning", comparison.warnings(found, left_out))
    exceeded: list[str] = []
    try:
        exceeded += [comparison.sentence(*pair) for pair in broken(found, bounds, left_out)]
    finally:  # what was found is printed also where it cannot be judged
        if style == "json":
            click.echo(comparison.as_json(found, names[0], names[1], exceeded))
    click.echo("".join(f"backbench: {text}\n" for text in exceeded), err=True, nl=False)
    return ExitCode.FAILED if exceeded else ExitCode.OK
