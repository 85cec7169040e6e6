"""``backbench show``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from backbench.cli import common, notices
from backbench.cli.options import changes, rows, shared, views
from backbench.errors import UsageError
from backbench.report.heat_map import print_instead
from backbench.report.sheet import print_sheet
from backbench.report.sheets import SHEETS


@click.command("show")
@shared.benchmark_argument
@shared.profile_option
@shared.store_option
@shared.formats("table", "json", "csv", "markdown", "latex", "html", "parquet")
@rows.row_options
@views.view_options
@rows.counting_options
def command(
    file: Path,
    profile: str | None,
    store: Path,
    style: str,
    *,
    filters: tuple[str, ...],
    sort: str | None,
    over: str | None,
    group: str,
    trace: str | None,
    view: str | None,
    mapped: str | None,
    **counting: Any,
) -> None:
    """Show the leaderboard of a store, also during a run; or of a bundle: BENCHMARK is its ZIP."""
    if over and (trace is not None or view or mapped):
        raise UsageError("show: --trace and other tables are of single attacks: leave out --over")
    planned = notices.load_plan(file, profile, store)
    if view == "watch":
        planned.watch()
    elif view is not None and view in SHEETS:
        if filters or sort:
            raise UsageError(f"--{view} shows every line: leave out --filter and --sort")
        print_sheet(planned.sheet(view), style)
    elif trace is not None:
        click.echo(planned.trace(*filters, *trace.split(",")))
    else:
        counting["metrics"] += (mapped,) if mapped else ()
        results = planned.results(**counting).filter(*filters, sort=None if over else sort)
        results.require(store, changes.run_command(file, store), filtered=bool(filters))
        shown = results.over_attacks().filter(sort=sort) if over else results
        if not print_instead(shown.board, view, mapped, style):
            shown = shown.detectors() if view == "detectors" else shown
            common.show(shown, style, None if group == "nothing" else group)
