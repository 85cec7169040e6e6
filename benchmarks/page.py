"""The page ``docs/results/performance.md``, and the table of a run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import Any

from benchmarks.rounds import Spread
from benchmarks.rows import Absent, Found, Row, Table

_HEAD = (
    "Stage",
    "Against",
    "Its flags",
    "Ours",
    "Peer",
    "n",
    "Ratio (range)",
    "Per CPU-second",
    "Bar",
    "Met",
)

_INTRODUCTION = """\
Made by `make bench`; [how it measures](../../benchmarks/README.md). Numbers are medians, with the
range over the rounds; a ratio is taken round by round. Bars are those of the project's goals. The
page has a row only if the compared results are equal, as its gate states. Each part states when, at
which commit and on which machine it was measured. Do not compare numbers of parts from different
machines. Notes are numbered within a part.
"""

#: Where a sentence of a note ends.
_END = re.compile(r"\.\s+(?=[A-Z0-9`])")


def number(value: float) -> str:
    """Return a number with three digits that count."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def spread(found: Spread | None, *, wide: bool = False) -> str:
    """Return a median, with its range if asked for."""
    if found is None:
        return "–"
    range_ = f" ({number(found.low)} – {number(found.high)})" if wide and found.n > 1 else ""
    return number(found.median) + range_


def cells(row: Row) -> list[str]:
    """Return a row's cells, in the order of the table's head."""
    compared = row.ratio is not None
    sign = ("≤" if row.at_most else "≥") if row.bar is not None else ""
    bar = "–" if row.bar is None else f"{sign} {number(row.bar)}{' ×' if compared else ''}"
    met = {None: "–", True: "yes", False: "**no**"}[row.met]
    return [
        row.stage,
        row.against,
        row.flags or "–",
        f"{spread(row.ours, wide=not compared)} {row.unit}",
        "–" if row.peer is None else f"{spread(row.peer)} {row.unit}",
        str((row.ratio or row.ours).n),
        spread(row.ratio, wide=True) + (" ×" if compared else ""),
        "–" if row.cpu_ratio is None else f"{spread(row.cpu_ratio)} ×",
        bar,
        met,
    ]


def table(rows: Sequence[Row]) -> list[list[str]]:
    """Return the table's lines, the head first; rows of a stage are together."""
    lines, before = [list(_HEAD)], ""
    for row in grouped(rows):
        line = cells(row)
        lines.append(["", *line[1:]] if row.stage == before else line)
        before = row.stage
    return lines


def grouped(rows: Sequence[Row]) -> list[Row]:
    """Return the rows with those of a stage together, in the order of the stages."""
    order = {stage: n for n, stage in enumerate(dict.fromkeys(row.stage for row in rows))}
    return sorted(rows, key=lambda row: order[row.stage])


def page(parts: Mapping[str, tuple[list[Found], Mapping[str, Any]]]) -> str:
    """Return the whole page.

    Args:
        parts: By name: rows and metadata as :mod:`benchmarks.results` reads them.
    """
    lines = [
        "# Performance against the peers",
        "",
        _INTRODUCTION,
    ]
    for name, (rows, metadata) in parts.items():
        lines += _part(name, rows, metadata)
    lines += _absent(parts)
    return "\n".join(lines).rstrip() + "\n"


def _part(name: str, rows: Sequence[Found], metadata: Mapping[str, Any]) -> list[str]:
    measured = grouped([row for row in rows if isinstance(row, Row)])
    if not measured:
        return []
    return [
        f"## {name.capitalize().replace('_', ' ')}",
        "",
        *_wrapped(
            f"`python -m benchmarks {name} --rounds {metadata['rounds']}`, {metadata['date']}, "
            f"commit `{metadata['commit']}`, {metadata['minutes']:.1f} min. "
            f"{_listed(metadata['machine'])}; {_listed(metadata['versions'])}."
        ),
        "",
        *noted(table(measured), [statements(row) for row in measured]),
        "",
        *missed(measured),
        *(line for one in rows if isinstance(one, Table) for line in _more(one)),
    ]


def _wrapped(text: str, hang: int = 0) -> list[str]:
    return wrap(
        text, 100, subsequent_indent=" " * hang, break_long_words=False, break_on_hyphens=False
    )


def _listed(values: Mapping[str, str]) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items())


def statements(row: Row) -> list[str]:
    """Return what the page states about a row, sentence by sentence."""
    made = [one.rstrip(".") for one in _END.split(row.note) if one]
    made.append(f"Gate: {row.gate.what.rstrip('.')}")
    if row.disturbed:
        rounds = "1 round was" if row.disturbed == 1 else f"{row.disturbed} rounds were"
        made.append(f"{rounds} disturbed by other processes")
    return made


def noted(lines: Sequence[Sequence[str]], notes: Sequence[Sequence[str]]) -> list[str]:
    """Return a table whose rows name their notes by number, and the notes, each of them once.

    Args:
        lines: Cells, the head first, as :func:`table` orders them.
        notes: Statements of each row, in the order of the lines.
    """
    numbers: dict[str, int] = {}
    for one in (one for row in notes for one in row):
        numbers.setdefault(one, len(numbers) + 1)
    head, *body = lines
    named = [", ".join(str(numbers[one]) for one in row) for row in notes]
    whole = [[*head, "Notes"], *([*line, of] for line, of in zip(body, named, strict=True))]
    return [
        *_markdown(whole),
        "",
        *(line for one, of in numbers.items() for line in _wrapped(f"{of}. {one}.", 3)),
    ]


def missed(rows: Sequence[Row]) -> list[str]:
    """Return where the time goes in the rows that miss their bar, each explanation once."""
    found: dict[str, list[str]] = {}
    for row in rows:
        if row.met is False and row.profile:
            name = f"{row.stage} ({row.against})"
            found.setdefault(" ".join(row.profile.split()).rstrip("."), []).append(name)
    return [
        line
        for text, names in found.items()
        for line in [
            *_wrapped(f"The bar is missed: {'; '.join(names)}. Where the time goes: {text}."),
            "",
        ]
    ]


def _more(table_: Table) -> list[str]:
    below = [*_wrapped(table_.text), ""] if table_.text else []
    return [*_markdown([table_.head, *table_.lines]), "", *below]


def _absent(parts: Mapping[str, tuple[list[Found], Mapping[str, Any]]]) -> list[str]:
    missing = [row for rows, _ in parts.values() for row in rows if isinstance(row, Absent)]
    if not missing:
        return []
    body = [[row.stage, row.against, row.why] for row in missing]
    return ["## Not measured", "", *_markdown([["Stage", "Against", "Why"], *body]), ""]


def _markdown(lines: Sequence[Sequence[str]]) -> list[str]:
    head, *body = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    return [
        f"| {' | '.join(head)} |",
        f"|{'|'.join('---' for _ in head)}|",
        *(f"| {' | '.join(line)} |" for line in body),
    ]
