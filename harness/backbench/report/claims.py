"""Claims and their verdicts as text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from backbench.report.grid import as_text, plain_grid, tabulated
from backbench.report.numbers import count, number
from backbench.results.claims import Finding, Judgement, overall
from backbench.results.filtering import differing
from backbench.system.escaping import markdown_code, markdown_text
from backbench.system.json_text import to_json

NOTE = (
    "d: subject − factor × against − margin, paired by seed and image; in brackets the interval of "
    "its mean, over seeds and images as in `compare`. A claim holds where the whole interval lies "
    "on its side of zero, for every row; it fails where, for one row, the whole lies on the other "
    "side; a row without all its seeds is undecided."
)

#: Headings of the table of a claim that are always there.
HEADER = ("method", "attack", "defense", "n", "subject", "against", "d", "verdict")


def claims_text(judged: Sequence[Judgement], style: str = "table") -> str:
    """Return claims and their verdicts as a ``table``, ``json`` or ``markdown``."""
    if style == "json":
        verdict = overall(one.verdict for one in judged)
        found = {"verdict": verdict, "claims": [_as_json(one) for one in judged]}
        return to_json(found, indent=2)
    return "\n".join(_tables(judged, markdown=style == "markdown"))


def _as_json(judgement: Judgement) -> dict[str, object]:
    return {
        **judgement.claim.model_dump(mode="json", exclude_none=True),
        "verdict": judgement.verdict,
        "findings": [asdict(finding) for finding in judgement.findings],
    }


def statement(judgement: Judgement) -> str:
    """Return a claim in symbols: ``target_fp/triggered > 4 × control``."""
    claim = judgement.claim
    against = f"{claim.against:g}" if isinstance(claim.against, float) else claim.against
    factor = "" if claim.factor == 1 else f"{claim.factor:g} × "
    sign = "−" if claim.margin < 0 else "+"
    margin = f" {sign} {abs(claim.margin):g}" if claim.margin else ""
    return f"{claim.metric} {claim.relation} {factor}{against}{margin}"


def _tables(judged: Sequence[Judgement], *, markdown: bool) -> Iterator[str]:
    for judgement in judged:
        claim, verdict = judgement.claim, judgement.verdict
        interval = f"{claim.confidence:.0%} interval"
        if markdown:
            symbols = markdown_code(statement(judgement))
            yield f"**{markdown_text(claim.text)}**: *{verdict}* ({symbols}, {interval})\n"
        else:
            yield f"{verdict}: {claim.text}"
            yield f"  {statement(judgement)}, {interval}"
        columns, rows = table_of(judgement)
        if markdown:
            yield tabulated(columns, rows, "markdown", 0) + "\n"
        else:
            yield textwrap.indent(as_text(plain_grid(columns, rows, 0)), "  ") + "\n"
    yield NOTE


def table_of(judgement: Judgement) -> tuple[list[str], list[list[str]]]:
    """Return headings, and a line for each finding; further names come first where they differ."""
    apart = differing(finding.names for finding in judgement.findings)
    more = [axis.value for axis in apart if axis not in HEADER]
    lines = [
        [*(finding.names[name] for name in more), *_cells(finding)]
        for finding in judgement.findings
    ]
    return [*more, *HEADER], lines


def _cells(finding: Finding) -> list[str]:
    names = [finding.names[one] for one in ("method", "attack", "defense")]
    seeds = count(len(finding.seeds), finding.planned)
    values = [_shown(finding.subject), _shown(finding.against)]
    return [*names, seeds, *values, _interval(finding), finding.verdict.value]


def _shown(value: float | None) -> str:
    """Format a fraction with three digits after the point, a count with one."""
    return "–" if value is None else number(value, 3 if abs(value) < 2 else 1)


def _interval(finding: Finding) -> str:
    mean = finding.difference
    if mean is None:
        return "–"
    if finding.interval is None:
        return _shown(mean)
    low, high = finding.interval
    decimals = 3 if max(abs(mean), (high - low) / 2) < 2 else 1
    mean_text, *ends = (number(value, decimals) for value in (mean, low, high))
    return f"{mean_text} [{', '.join(ends)}]"
