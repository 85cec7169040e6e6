"""``backbench report``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from backbench.cli import common, notices
from backbench.cli.options import changes, page, shared
from backbench.cli.options.subject import subject_of
from backbench.errors import counted


@click.command("report")
@page.what_argument
@shared.profile_option
@shared.store_option
@page.page_options
def command(
    what: tuple[Path, ...],
    profile: str | None,
    store: Path,
    *,
    filters: tuple[str, ...],
    out: Path,
    site: Path | None,
    most_figures: int,
) -> None:
    """Write the results as one HTML page that needs no network and no scripts.

    BENCHMARK (default: benchmarks.toml) names the cells of a STORE; a BUNDLE.zip holds its plan.
    With --site, a page for each bundle, an index of all rows with the result of each bundle's
    check, and a page on how to submit.
    """
    subject = subject_of(what, store, wants_site=site is not None)
    if site is not None:
        from backbench.api.finished import write_site

        made, refused = write_site(subject.bundles, site, most_figures=most_figures)
        common.say("refused", refused)
        count = counted(len(made), "submission")
        click.echo(f"{site / 'index.html'}: {count}, {len(refused)} refused")
        return
    results: Any
    if subject.bundles:
        from backbench.api.finished import open_results

        results = open_results(subject.bundles[0]).filter(*filters)
    else:
        results = notices.load_plan(subject.file, profile, subject.store).results()
        results = results.filter(*filters)
        command_line = changes.run_command(subject.file, subject.store)
        results.require(subject.store, command_line, filtered=bool(filters))
    size = results.report(out, most_figures=most_figures)
    click.echo(f"{out}: {counted(len(results), 'row')}, {size / 1e6:.2f} MB")
