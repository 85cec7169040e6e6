"""The page ``docs/results/performance.md``, and the table of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

_INTRODUCTION = (
    "Made by `make bench`; [how it measures](../../benchmarks/README.md). Numbers are medians, "
    "with the range over the rounds; a ratio is taken round by round. Bars are those of the "
    "project's goals. A row stands here only if the results that it compares were equal in the "
    "sense that it states. Each part says when, at which commit and on which machine it was "
    "measured: numbers of parts from different machines are not to be compared."
)


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
    """Return the table's lines, the head first; rows of a stage stand together, under its name."""
    lines = [list(_HEAD)]
    for stage in dict.fromkeys(row.stage for row in rows):
        group = [cells(row) for row in rows if row.stage == stage]
        lines += [group[0], *(["", *line[1:]] for line in group[1:])]
    return lines


def page(parts: Mapping[str, tuple[list[Found], Mapping[str, Any]]]) -> str:
    """Return the whole page.

    Args:
        parts: By name: rows and metadata as :mod:`benchmarks.results` reads them.
    """
    lines = [
        "# Performance beside the peers",
        "",
        _INTRODUCTION,
        "",
    ]
    for name, (rows, metadata) in parts.items():
        lines += _part(name, rows, metadata)
    lines += _absent(parts)
    return "\n".join(lines).rstrip() + "\n"


def _part(name: str, rows: Sequence[Found], metadata: Mapping[str, Any]) -> list[str]:
    measured = [row for row in rows if isinstance(row, Row)]
    if not measured:
        return []
    machine, versions = metadata["machine"], metadata["versions"]
    return [
        f"## {name.capitalize().replace('_', ' ')}",
        "",
        f"`python -m benchmarks {name} --rounds {metadata['rounds']}`, {metadata['date']}, commit "
        f"`{metadata['commit']}`, {metadata['minutes']:.1f} min. "
        + ", ".join(f"{key} {value}" for key, value in machine.items())
        + "; "
        + ", ".join(f"{key} {value}" for key, value in versions.items())
        + ".",
        "",
        *_markdown(table(measured)),
        "",
        *(line for row in measured for line in _notes(row)),
        "",
        *(line for one in rows if isinstance(one, Table) for line in _more(one)),
    ]


def _more(table_: Table) -> list[str]:
    below = [table_.text, ""] if table_.text else []
    return [*_markdown([table_.head, *table_.lines]), "", *below]


def _notes(row: Row) -> list[str]:
    said = [row.note.rstrip(".")] if row.note else []
    said.append(f"Gate: {row.gate.what.rstrip('.')}")
    if row.disturbed:
        said.append(f"{row.disturbed} rounds were disturbed by other processes")
    who = f"{row.against} {row.flags}".rstrip()
    lines = [f"* *{row.stage}, {who}*: {'. '.join(said)}."]
    if row.met is False and row.profile:
        why = "  The bar is missed. Where the time goes:"
        lines += ["", why, "", *(f"      {line}" for line in row.profile.splitlines()), ""]
    return lines


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
