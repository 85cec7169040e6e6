"""Numbers as text: mean, deviation and interval."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from backbench.results.statistics import Summary

#: Note on how intervals are made, below every table that has some.
INTERVAL_NOTE = (
    "±: standard deviation over n seeds; [low, high]: 95 % interval of the mean: Student's t over "
    "seeds and images (~: over seeds only, none where they agree), within the bounds of a share or "
    "a count by Wilson's score interval"
)


def number(value: float, decimals: int) -> str:
    """Format a number: ``.940`` for a fraction, ``349`` for a count."""
    text = f"{value:.{decimals}f}"
    if float(text) == 0:
        text = text.removeprefix("-")
    if decimals and text.startswith("0."):
        return text[1:]
    return text.replace("-0.", "-.", 1) if decimals else text


def spread(summary: Summary | None, decimals: int) -> str:
    """Format mean and standard deviation: ``.940 ±.004``; one seed has no spread."""
    if summary is None:
        return "–"
    text = number(summary.mean, decimals)
    return text if summary.std is None else f"{text} ±{number(summary.std, decimals)}"


def interval(summary: Summary | None, decimals: int) -> str:
    """Format an interval: ``[.931, .949]``; empty where there is none."""
    if summary is None or summary.ci95 is None:
        return ""
    low, high = (number(end, decimals) for end in summary.ci95)
    return f"[{low}, {high}]{'~' * (summary.over == 'seeds')}"


def whole(summary: Summary | None, decimals: int, between: str = " ") -> str:
    """Format mean, standard deviation and interval: ``.940 ±.004 [.931, .949]``."""
    found = interval(summary, decimals)
    return spread(summary, decimals) + (f"{between}{found}" if found else "")


def count(done: int, planned: int) -> str:
    """Format a number of seeds: ``3``, or ``2/3`` where a seed is missing."""
    return str(done) if done == planned else f"{done}/{planned}"


#: Headings of :func:`exact`.
EXACT = ("n", "mean", "std", "ci95_low", "ci95_high", "over")


def exact(summary: Summary | None) -> list[Any]:
    """Return the numbers of a line of CSV, in the order of :data:`EXACT`."""
    if summary is None:
        return [None] * len(EXACT)
    low, high = summary.ci95 or (None, None)
    return [summary.n, summary.mean, summary.std, low, high, summary.over]
