"""Two sides of a benchmark, compared row by row, seed by seed, image by image. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from backbench.benchmark import DEFAULT_FILE
from backbench.errors import UsageError, counted
from backbench.model import NONE, Axis
from backbench.plugin.suggestions import suggestion
from backbench.results.filtering import select
from backbench.results.leaderboard import Leaderboard, Row
from backbench.results.statistics import (
    Summary,
    effect_size,
    error_of,
    holm,
    on_seeds,
    paired,
    summarize,
)

#: Name of a row that is evaluated on the dataset of its pretraining.
_ITSELF = (Axis.DOWNSTREAM.value, NONE)

#: Metrics that are compared unless the user chooses.
METRICS = ("accuracy/clean", "accuracy/triggered", "asr")


@dataclass(frozen=True, slots=True)
class Comparison:
    """One metric of two rows that are equal in everything else, on the seeds that both have.

    ``difference`` is left less right, paired by seed and, where both are of the same images, by
    image; ``effect`` is Cohen's d_z over seeds. The two-sided p value of no difference is ``None``
    where there is no interval; ``corrected`` is the same, Holm-corrected over all comparisons.
    """

    names: Mapping[str, str]
    metric: str
    left: Summary
    right: Summary
    difference: Summary
    effect: float | None
    p_value: float | None
    corrected: float | None

    @property
    def label(self) -> str:
        """The metric and the row, for people."""
        return _label(self.names, self.metric)


@dataclass(frozen=True, slots=True)
class Unpaired:
    """One metric of a row at seeds of which one side lacks some.

    ``left`` and ``right`` are the seeds that a side has; none where it lacks the row or the metric.
    """

    names: Mapping[str, str]
    metric: str
    left: frozenset[int]
    right: frozenset[int]

    @property
    def where(self) -> str:
        """The side or the seeds that have it: ``only in A``, ``in both at 2 of 3 seeds``."""
        if not (self.left and self.right):
            return f"only in {'A' if self.left else 'B'}"
        common, known = len(self.left & self.right), len(self.left | self.right)
        return f"in both at {common or 'none'} of {known} seeds"

    @property
    def label(self) -> str:
        """The metric and the row, for people."""
        return _label(self.names, self.metric)


def _label(names: Mapping[str, str], metric: str) -> str:
    shown = [name for axis, name in names.items() if (axis, name) != _ITSELF]
    return f"{metric} of {' · '.join(shown)}"


def read_sides(words: Sequence[str], *, with_stores: bool) -> tuple[tuple[str, ...], Path]:
    """Separate the two sides of a comparison, ``method=byol method=moco-v2``, from the file."""
    selectors = tuple(word for word in words if "=" in word)
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


def sides(board: Leaderboard, left: str, right: str) -> tuple[Leaderboard, Leaderboard, str]:
    """Choose the rows of two values of one field; return the field, too."""
    field, value = _selector(left)
    other_field, other = _selector(right)
    if field != other_field:
        raise UsageError(
            f"compare: {left} and {right} are values of two fields: compare two values of one"
        )
    if value == other:
        raise UsageError(f"compare: both sides are {left}: name two values of {field}")
    return select(board, [left], None), select(board, [right], None), field


def _selector(text: str) -> tuple[str, str]:
    field, sign, value = text.partition("=")
    if not sign or not value:
        raise UsageError(f"compare: {text!r} is no side: write FIELD=VALUE, as in method=byol")
    if field not in list(Axis):
        raise UsageError(
            f"compare: no field is called {field!r}{suggestion(field, [*map(str, Axis)])}"
        )
    return field, value


def compare(
    left: Leaderboard, right: Leaderboard, metrics: Sequence[str], field: str | None = None
) -> list[Comparison]:
    """Compare rows that are equal in everything but one field, or in everything (two stores).

    Metrics that only one of two rows has, and rows without a seed in common, are left out:
    :func:`unpaired` names them.
    """
    found = []
    for names, one, other in _pairs(left, right, field):
        if one is not None and other is not None:
            compared = (_comparison(names, metric, one, other) for metric in metrics)
            found += [each for each in compared if each is not None]
    if not found:
        known = sorted({metric for row in left.rows for metric in row.values})
        hints = [suggestion(one, known) for one in metrics if one not in known]
        raise UsageError(
            f"compare: no two rows have a finished seed and any of {', '.join(metrics)} in common"
            + next(filter(None, hints), "")
        )
    tested = [at for at, one in enumerate(found) if one.p_value is not None]
    corrected = holm([found[at].p_value or 0.0 for at in tested])
    for at, value in zip(tested, corrected, strict=True):
        found[at] = replace(found[at], corrected=value)
    return found


def unpaired(
    left: Leaderboard, right: Leaderboard, metrics: Sequence[str], field: str | None = None
) -> list[Unpaired]:
    """Return what :func:`compare` leaves out: numbers of one side that the other lacks."""
    return [
        Unpaired(names, metric, *seeds)
        for names, *rows in _pairs(left, right, field)
        for metric in metrics
        for seeds in [[_seeds(row, metric) for row in rows]]
        if seeds[0] != seeds[1]
    ]


def _seeds(row: Row | None, metric: str) -> frozenset[int]:
    sample = row.samples.get(metric) if row is not None else None
    return frozenset(sample.seeds if sample is not None else ())


def _pairs(
    left: Leaderboard, right: Leaderboard, field: str | None
) -> Iterator[tuple[dict[str, str], Row | None, Row | None]]:
    """Yield the names of each row of either side, and the row on both; ``None`` if one lacks it."""
    ours, theirs = _by_name(left, field), _by_name(right, field)
    for key, row in (ours | theirs).items():
        names = {name: value for name, value in row.names.items() if name != field}
        yield names, ours.get(key), theirs.get(key)


def _by_name(board: Leaderboard, field: str | None) -> dict[tuple[str, ...], Row]:
    rows: dict[tuple[str, ...], Row] = {}
    for row in board.rows:
        key = (row.protocol, *(value for name, value in row.names.items() if name != field))
        if key in rows:
            both = f"{rows[key].names[field]} and {row.names[field]}" if field else "two rows"
            raise UsageError(f"compare: {both} are on one side: name one of them")
        rows[key] = row
    return rows


def _images_of(row: Row) -> str:
    """Return the dataset on which the encoders of a row are evaluated."""
    downstream = row.names[Axis.DOWNSTREAM]
    return row.names[Axis.DATASET] if downstream == NONE else downstream


def _comparison(names: Mapping[str, str], metric: str, left: Row, right: Row) -> Comparison | None:
    one, other = left.samples.get(metric), right.samples.get(metric)
    if one is None or other is None:
        return None
    if _images_of(left) != _images_of(right):  # the same numbers of other images
        one, other = replace(one, hits=None), replace(other, hits=None)
    difference = paired(one, other)
    if not difference.seeds:
        return None
    summary = summarize(difference)
    error = error_of(difference)
    return Comparison(
        names=names,
        metric=metric,
        left=summarize(on_seeds(one, difference.seeds)),
        right=summarize(on_seeds(other, difference.seeds)),
        difference=summary,
        effect=effect_size(summary.values),
        p_value=None if error is None else float(error.p_value(summary.mean)),
        corrected=None,
    )


# -- limits ------------------------------------------------------------------------------------

_LIMIT = re.compile(r"\s*([\w/@.=-]+)\s*([<>])\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*")


@dataclass(frozen=True, slots=True)
class Limit:
    """Limit of a difference: its margin, and the sign, 1 or -1, of what is beyond."""

    text: str
    metric: str
    sign: int
    margin: float


def limit(text: str) -> Limit:
    """Read a limit: ``asr > +0.02``, ``accuracy/clean < -0.01``."""
    match = _LIMIT.fullmatch(text)
    if match is None:
        raise UsageError(
            f"--fail-on {text!r}: write METRIC > NUMBER or METRIC < NUMBER, as in 'asr > +0.02'"
        )
    metric, sign, margin = match.groups()
    return Limit(" ".join(text.split()), metric, 1 if sign == ">" else -1, float(margin))


def broken(
    found: Sequence[Comparison], limits: Sequence[Limit], left_out: Sequence[Unpaired] = ()
) -> list[tuple[Limit, Comparison]]:
    """Return which differences exceed a limit beyond doubt: with their whole 95 % interval.

    A limit on a number that could not be compared raises a UsageError: who asks for a limit on all
    rows is not to hear that none exceeds it where some have not been looked at.
    """
    exceeded = []
    for one in limits:
        lost = [row for row in left_out if row.metric == one.metric and not row.left & row.right]
        if lost:
            more = f", as are {counted(len(lost) - 1, 'other')}," * (len(lost) > 1)
            raise UsageError(
                f"--fail-on {one.text!r}: {lost[0].label} is {lost[0].where}{more} and cannot be "
                "compared: run it for both sides, or leave it out with --filter"
            )
        rows = [row for row in found if row.metric == one.metric]
        if not rows:
            hint = suggestion(one.metric, sorted({row.metric for row in found}))
            raise UsageError(f"--fail-on {one.text!r}: nothing has {one.metric!r}{hint}")
        for row in rows:
            ends = row.difference.ci95
            if ends is None and row.difference.n == 1:
                raise UsageError(
                    f"--fail-on {one.text!r}: {row.label} has one seed in common and cannot be "
                    "tested: run at least two, better three"
                )
            beyond = [one.sign * (end - one.margin) > 0 for end in ends or (row.difference.mean,)]
            if ends is None and any(beyond):
                raise UsageError(
                    f"--fail-on {one.text!r}: {row.label} differs alike at every seed and cannot "
                    "be tested: run more seeds"
                )
            if all(beyond):
                exceeded.append((one, row))
    return exceeded
