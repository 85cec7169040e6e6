"""``backbench claims``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from backbench.benchmark.claims import Finding, Judgement, Verdict, judge, overall
from backbench.benchmark.config import load_benchmark
from backbench.cli import common
from backbench.errors import ExitCode, UsageError
from backbench.plugin import MetricInfo
from backbench.plugin.registry import load_registry
from backbench.report.numbers import number
from backbench.results.rescore import Rescorer, Rescoring
from backbench.store.store import Store

#: What a verdict ends in.
_EXIT = {
    Verdict.HOLDS: ExitCode.OK,
    Verdict.FAILS: ExitCode.FAILED,
    Verdict.UNDECIDED: ExitCode.UNDECIDED,
}

NOTE = (
    "d: subject − factor × against − margin, paired by seed; in brackets Student's interval of its "
    "mean over n seeds. A claim holds where the whole interval lies on its side of zero, for every "
    "row; it fails where, for one row, the whole lies on the other side; a row without all its "
    "seeds is undecided."
)


@click.command("claims")
@common.benchmark_argument
@common.profile_option
@common.store_option
@common.formats("table", "json", "markdown")
def command(file: Path, profile: str | None, store: Path, style: str) -> None:
    """Judge the claims of a benchmark file by the predictions in the store.

    Each claim holds, fails, or is undecided at this n. All matrices of the file count, those of
    profiles too, unless --profile restricts them. Runs nothing, and needs no model.

    Exit code 0: all hold; 1: one fails; 3: none fails, but one is undecided.
    """
    registry = load_registry()
    benchmark = load_benchmark(file, registry, profile, every=profile is None)
    common.warn_of_failures(registry.failures)
    if not benchmark.claims:
        raise UsageError(f"{file}: there are no [[claims]]")
    where = Store(store)
    plan = common.plan_of(benchmark, where, keep_hashes=False)
    asked = {claim.metric.partition("@")[0] for claim in benchmark.claims}
    plugins = [name for name in registry.names(MetricInfo.kind) if name in asked]
    metrics = tuple(registry.find(MetricInfo.kind, name) for name in plugins)
    rescorer = Rescorer(where, Rescoring(metrics=metrics))

    def metrics_of(key: str) -> dict[str, float] | None:
        record = rescorer.record(key)
        return None if record is None else dict(record.metrics)

    judged = [judge(claim, plan.cells, metrics_of) for claim in benchmark.claims]
    verdict = overall(one.verdict for one in judged)
    if style == "json":
        click.echo(
            json.dumps({"verdict": verdict, "claims": [_as_json(j) for j in judged]}, indent=2)
        )
    else:
        _print(judged, markdown=style == "markdown")
    raise click.exceptions.Exit(_EXIT[verdict])


def _as_json(judgement: Judgement) -> dict[str, object]:
    return {
        **judgement.claim.model_dump(mode="json", exclude_none=True),
        "verdict": judgement.verdict,
        "findings": [asdict(finding) for finding in judgement.findings],
    }


def _statement(judgement: Judgement) -> str:
    """Say in symbols what is claimed: ``target_fp/triggered > 4 × control``."""
    claim = judgement.claim
    against = f"{claim.against:g}" if isinstance(claim.against, float) else claim.against
    factor = "" if claim.factor == 1 else f"{claim.factor:g} × "
    margin = (
        "" if not claim.margin else f" {'−' if claim.margin < 0 else '+'} {abs(claim.margin):g}"
    )
    return f"{claim.metric} {claim.relation} {factor}{against}{margin}"


def _print(judged: list[Judgement], *, markdown: bool) -> None:
    from tabulate import tabulate

    header = ("method", "attack", "defense", "n", "subject", "against", "d", "verdict")
    for judgement in judged:
        claim, verdict = judgement.claim, judgement.verdict
        told = f"{claim.confidence:.0%} interval"
        if markdown:
            click.echo(f"**{claim.text}**: *{verdict}* (`{_statement(judgement)}`, {told})\n")
        else:
            click.secho(f"{verdict}: {claim.text}", bold=True)
            click.secho(f"  {_statement(judgement)}, {told}", dim=True)
        several = len({(f.names["dataset"], f.names["evaluator"]) for f in judgement.findings}) > 1
        more = ("dataset", "evaluator") if several else ()
        rows = [[*(f.names[one] for one in more), *_row(f)] for f in judgement.findings]
        style = "github" if markdown else "plain"
        text = tabulate(rows, (*more, *header), tablefmt=style, disable_numparse=True)
        click.echo(
            "\n".join(line if markdown else f"  {line}" for line in text.splitlines()) + "\n"
        )
    click.secho(NOTE, dim=not markdown)


def _row(finding: Finding) -> list[str]:
    names = [finding.names[one] for one in ("method", "attack", "defense")]
    done = len(finding.seeds)
    count = str(done) if done == finding.planned else f"{done}/{finding.planned}"
    values = [_shown(finding.subject), _shown(finding.against)]
    return [*names, count, *values, _interval(finding), finding.verdict.value]


def _shown(value: float | None) -> str:
    """Format a fraction with three digits after the point, a count with one."""
    return "–" if value is None else number(value, 3 if abs(value) < 2 else 1)


def _interval(finding: Finding) -> str:
    mean, half = finding.difference, finding.half
    if mean is None:
        return "–"
    if half is None:
        return _shown(mean)
    decimals = 3 if max(abs(mean), half) < 2 else 1
    ends = (number(mean - half, decimals), number(mean + half, decimals))
    return f"{number(mean, decimals)} [{ends[0]}, {ends[1]}]"
