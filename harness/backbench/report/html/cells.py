"""The section of each cell: its numbers, how it was made, and its figures."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from backbench.model import NONE, Axis, PluginUse
from backbench.model import Cell as PlannedCell
from backbench.plugin import Column
from backbench.report.figures.cell import cell_figures
from backbench.report.figures.figure import Figure, Missing
from backbench.report.figures.whole_table import table_figures
from backbench.report.html.drawings import Drawing, drawings_of
from backbench.report.html.leaderboard import metrics_table
from backbench.report.html.source import Source
from backbench.report.html.table import Cell, Heading, Table
from backbench.results.leaderboard import Row
from backbench.results.threat import threat_text
from backbench.store.records import Record
from backbench.system.json_text import to_json
from backbench.verification.findings import MALFORMED


@dataclass(frozen=True, slots=True)
class Variant:
    """The numbers of a row: of one variant of the cell's evaluator, if it has several."""

    name: str
    table: Table
    notes: Sequence[str]


@dataclass(frozen=True, slots=True)
class CellSection:
    """The section of a cell over its seeds.

    Args:
        id: Its anchor.
        names: Axes and names.
        about: Further names and values.
        variants: Its numbers.
        stages: How it was made; empty of an imported row.
        seed: The seed that stages and figures are of.
        figures: Its figures.
        missing: Why others are not drawn.
    """

    id: str
    names: Sequence[tuple[str, str]]
    about: Sequence[tuple[str, str]]
    variants: Sequence[Variant]
    stages: Table
    seed: int | None
    figures: Sequence[Drawing]
    missing: Sequence[Missing]


@dataclass(frozen=True, slots=True)
class Group:
    """The rows of a cell, one for each variant of its evaluator, and the cell of each seed."""

    id: str
    rows: list[Row]
    cells: Sequence[PlannedCell]


def groups_of(source: Source) -> tuple[list[Group], list[str]]:
    """Group the rows of a leaderboard by cell; return also the address of each row's section."""
    cells: dict[tuple[str, ...], list[PlannedCell]] = {}
    for cell in source.plan.cells:
        cells.setdefault(tuple(cell.name.row.values()), []).append(cell)
    found: dict[tuple[str, ...], Group] = {}
    links = []
    for row in source.board.rows:
        names = tuple(_plain_name(row, axis) for axis in Axis)
        own = () if row.origin else tuple(cells.get(names, ()))
        name = (*names, row.origin)
        group = found.setdefault(name, Group(f"cell-{len(found) + 1}", [], own))
        group.rows.append(row)
        links.append(f"#{group.id}")
    return list(found.values()), links


def _plain_name(row: Row, axis: Axis) -> str:
    """Return a row's name without the variant of its evaluator."""
    name = row.names[axis]
    return name.partition(":")[0] if axis is Axis.EVALUATOR else name


def figures_of(source: Source, group: Group) -> Iterator[Figure | Missing]:
    """Yield the figures of a cell's first seed."""
    done = [cell for cell in group.cells if source.opened.record_of(cell.evaluation) is not None]
    if not done:
        return
    try:
        yield from cell_figures(source.opened, done[0])
    except MALFORMED as error:  # a damaged artifact, or a forged bundle
        yield _unreadable(error)


def table_drawings(source: Source) -> tuple[list[Drawing], list[Missing]]:
    """Return the figures of the whole table, and those that cannot be drawn."""
    found: list[Figure | Missing] = []
    try:
        found.extend(table_figures(source.opened, source.board))
    except MALFORMED as error:
        found.append(_unreadable(error))
    (drawn,), _ = drawings_of([[one for one in found if isinstance(one, Figure)]])
    return drawn, [one for one in found if isinstance(one, Missing)]


def _unreadable(error: Exception) -> Missing:
    return Missing("Figures", f"An artifact cannot be read ({type(error).__name__}: {error}).")


def cell_sections(
    source: Source, groups: Sequence[Group], records: Mapping[str, Record], most: int
) -> tuple[list[CellSection], list[Drawing]]:
    """Return the section of each cell, and one copy of each figure that several cells have.

    Args:
        source: What the page is of.
        groups: The cells.
        records: All records, by key.
        most: So many cells get figures, the first.
    """
    found = [list(figures_of(source, group)) for group in groups[:most]]
    figures = [[one for one in drawn if isinstance(one, Figure)] for drawn in found]
    drawings, shared = drawings_of(figures)
    columns = {column.metric: column for column in source.board.columns}
    left = len(groups) - most
    reason = f"Figures are drawn of the first {most} cells only: choose others with --filter."
    sections = []
    for at, group in enumerate(groups):
        missing = [one for one in found[at] if isinstance(one, Missing)] if at < most else []
        if at >= most > 0 and left > 0:
            missing = [Missing("Figures", reason)]
        drawn = drawings[at] if at < most else []
        sections.append(_section(group, records, columns, drawn, missing))
    return sections, shared


def _section(
    group: Group,
    records: Mapping[str, Record],
    columns: Mapping[str, Column],
    figures: Sequence[Drawing],
    missing: Sequence[Missing],
) -> CellSection:
    first = group.rows[0]
    done = [cell for cell in group.cells if cell.evaluation in records] or group.cells[:1]
    keys = (*done[0].path, *(one.key for one in done[0].detections)) if done else ()
    there = [records[key] for key in keys if key in records]
    return CellSection(
        id=group.id,
        names=[(axis.value, _plain_name(first, axis)) for axis in Axis if _is_shown(first, axis)],
        about=list(_about(first)),
        variants=[_variant(row, columns) for row in group.rows],
        stages=_stages(there),
        seed=done[0].name.seed if done else None,
        figures=figures,
        missing=missing,
    )


def _is_shown(row: Row, axis: Axis) -> bool:
    return axis is not Axis.DOWNSTREAM or row.names[axis] != NONE


def _about(row: Row) -> Iterator[tuple[str, str]]:
    found = {
        "Threat model": threat_text(dict(row.threat)),
        "Protocol": row.protocol,
        "Imported from": row.origin,
        "External": "weights that were not trained here" if row.external else "",
        "Outdated": row.outdated,
    }
    yield from ((name, value) for name, value in found.items() if value)
    yield from (("Flag", str(flag)) for flag in row.flags)


def _variant(row: Row, columns: Mapping[str, Column]) -> Variant:
    name = row.names[Axis.EVALUATOR].partition(":")[2]
    lacks = [f"{len(row.seeds)} of {row.planned} seeds"] if len(row.seeds) < row.planned else []
    if row.uncontrolled:
        lacks.append(f"{row.uncontrolled} without a control")
    notes = [", ".join(lacks), row.problem]
    return Variant(name, metrics_table(row, columns), [one for one in notes if one])


def _stages(records: Sequence[Record]) -> Table:
    headings = [Heading(title) for title in ("Stage", "Plugin", "Key")]
    headings += [Heading(title, is_number=True) for title in ("Wall s", "CPU s", "Memory GiB")]
    rows = []
    for record in records:
        uses = record.stage.uses
        plugin = Cell(" with ".join(use.name for use in uses) or "–", link=options_link(uses))
        numbers = [
            Cell(f"{value:,.{digits}f}", value)
            for value, digits in ((record.wall_s, 1), (record.cpu_s, 1), (record.peak_mem_gib, 2))
        ]
        rows.append([Cell(record.stage.kind.value), plugin, Cell(record.key[:12]), *numbers])
    return Table("", headings, rows)


@dataclass(frozen=True, slots=True)
class PluginOptions:
    """Options of plugins, as JSON, that some stages have.

    Args:
        id: Anchor.
        title: The plugins.
        text: Options that their numbers depend on; where files lie is not among them.
    """

    id: str
    title: str
    text: str


def options_of(records: Iterable[Record]) -> list[PluginOptions]:
    """Return the distinct options of all stages, in their order."""
    found: dict[str, PluginOptions] = {}
    for record in records:
        uses = record.stage.uses
        link = options_link(uses)
        if link and link not in found:
            kind = record.stage.kind.value
            names = (f"{use.name} (revision {use.revision} of {use.distribution})" for use in uses)
            text = to_json([dict(use.identity) for use in uses], indent=1)
            found[link] = PluginOptions(link[1:], f"{kind}: {' with '.join(names)}", text)
    return list(found.values())


def options_link(uses: Sequence[PluginUse]) -> str:
    """Return the address of the options of plugins; empty without a plugin."""
    if not uses:
        return ""
    digest = hashlib.sha256("\n".join(use.canonical for use in uses).encode()).hexdigest()
    return f"#options-{digest[:12]}"
