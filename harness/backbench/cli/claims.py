"""``backbench claims``."""

from __future__ import annotations

from pathlib import Path

import click

from backbench.cli import common, notices
from backbench.cli.options import shared
from backbench.errors import ExitCode, UsageError
from backbench.report.claims import claims_text
from backbench.results.claims import Verdict, overall

#: The exit code of each verdict.
_EXIT = {
    Verdict.HOLDS: ExitCode.OK,
    Verdict.FAILS: ExitCode.FAILED,
    Verdict.UNDECIDED: ExitCode.UNDECIDED,
}


@click.command("claims")
@shared.benchmark_argument
@shared.profile_option
@shared.store_option
@shared.formats("table", "json", "markdown")
def command(file: Path, profile: str | None, store: Path, style: str) -> ExitCode:
    """Judge the claims of a benchmark file by the predictions in the store.

    Each claim holds, fails, or is undecided at this n. All matrices of the file count, those of
    profiles too, unless --profile restricts them. Runs nothing, and needs no model.

    Exit code 0: all hold; 1: one fails; 3: none fails, but one is undecided.
    """
    experiment = common.load(file, profile, every=profile is None)
    if not experiment.benchmark.claims:
        raise UsageError(f"{file}: there are no [[claims]]")
    judged = notices.planned_in(experiment, store).claims()
    click.echo(claims_text(judged, style))
    return _EXIT[overall(one.verdict for one in judged)]
