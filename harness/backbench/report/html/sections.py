"""The sections of a page between the leaderboard and its cells, as plain data."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from backbench.benchmark.protocols.card import find_protocol
from backbench.errors import UsageError
from backbench.model import NONE, StageKind
from backbench.report.claims import statement, table_of
from backbench.report.defenses import detection_sheet, trade_off_sheet
from backbench.report.html.leaderboard import leaderboard_tables, sheet_table
from backbench.report.html.source import Source
from backbench.report.html.table import Cell, Heading, Table, plain
from backbench.report.protocols import shown, values_of
from backbench.report.verdicts import encoder_sheet, verdict_sheet
from backbench.results.claims import Judgement, Verdict
from backbench.results.detectors import only_detectors
from backbench.results.leaderboard import Leaderboard
from backbench.results.threat import threat_text
from backbench.store.metadata import DatasetRecord
from backbench.store.records import Record
from backbench.verification.exporting import environments

#: How a verdict is shown besides its word.
STYLES = {Verdict.HOLDS: "good", Verdict.FAILS: "bad", Verdict.UNDECIDED: ""}


@dataclass(frozen=True, slots=True)
class Section:
    """A section: its tables, or the reason why it has none."""

    name: str
    title: str
    about: str
    tables: Sequence[Table]
    nothing: str = ""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A claim, as it is shown."""

    text: str
    statement: str
    verdict: str
    style: str
    table: Table


def claims_of(judged: Sequence[Judgement]) -> list[Claimed]:
    """Return the claims with their verdicts, and the numbers that each is judged by."""
    found = []
    for one in judged:
        headings, lines = table_of(one)
        rows = [
            [*map(Cell, texts), Cell(verdict, style=STYLES[finding.verdict])]
            for finding, (*texts, verdict) in zip(one.findings, lines, strict=True)
        ]
        numbers = {"n", "subject", "against"}
        named = [Heading(title, is_number=title in numbers) for title in headings]
        symbols = f"{statement(one)}, {one.claim.confidence:.0%} interval"
        style = STYLES[one.verdict]
        table = Table("", named, rows)
        found.append(Claimed(one.claim.text, symbols, one.verdict.value, style, table))
    return found


def sections_of(source: Source, records: Mapping[str, Record]) -> Iterator[Section]:
    """Yield the sections of a page."""
    yield _protocol(source.plan.protocol)
    yield Section(
        "threat-models",
        "Threat models",
        "What each attack poisoned, and what it asked for.",
        [table] if (table := _threats(source.board)) else [],
        "No attack has run.",
    )
    yield Section(
        "defenses",
        "Detectors, verdicts and defenses",
        "What defenses find, what they cost, and what they give away.",
        list(_defenses(source)),
        "No defense has run.",
    )
    yield Section(
        "cost",
        "Cost",
        "Time and memory of the stages that are there; a stage that cells share is counted once.",
        [*_costs(source, records)],
        "No stage has run.",
    )
    yield Section(
        "datasets-and-machines",
        "Datasets and environments",
        "What the images were, and where the stages ran. Stages without torch have an environment "
        "of their own.",
        [table for table in (_datasets(records), *_environments(records)) if table],
        "No stage has run.",
    )


def _protocol(protocol: str) -> Section:
    name, title = "protocol", "Protocol"
    if not protocol:
        return Section(name, title, "", [], "No protocol: the options are the file's own.")
    try:
        card = find_protocol(protocol)
    except UsageError:
        return Section(name, title, "", [], f"This version has no card of {protocol!r}.")
    rows = [[*place, shown(value)] for place, value in values_of(card)]
    table = plain(f"Card {card.id}", ["Of", "Name", "Value"], rows)
    return Section(name, title, f"{card.summary} Source: {card.source}", [table])


def _threats(board: Leaderboard) -> Table:
    found: dict[tuple[str, ...], None] = {}
    for row in board.rows:
        if row.threat:
            rate = row.threat.get("rate_of_dataset")
            share = "–" if rate is None else f"{rate:.2%}"
            poisons = str(row.threat.get("poisons", "–"))
            names = (row.names["attack"], row.names["dataset"])
            found[*names, threat_text(dict(row.threat)), poisons, share] = None
    headings = ["Attack", "Dataset", "What it has and asked for", "Poisons", "Share of dataset"]
    return plain("", headings, list(found), numbers=2)


def _defenses(source: Source) -> Iterator[Table]:
    plan, record_of = source.plan, source.opened.record_of
    with suppress(UsageError):  # no detector has run
        detectors = only_detectors(source.board)
        yield from leaderboard_tables(detectors, (), "Detectors of triggered images")
    for sheet, caption in (
        (trade_off_sheet(source.board), "Trade-off: each defended row beside the undefended row"),
        (detection_sheet(plan, record_of), "Detection of poisons, and cost"),
        (verdict_sheet(plan, record_of), "Verdicts on encoders"),
        (encoder_sheet(plan, record_of), "The verdict on each encoder"),
    ):
        if sheet.lines:
            yield sheet_table(sheet, caption)


def _costs(source: Source, records: Mapping[str, Record]) -> Iterator[Table]:
    """Yield what the stages of each kind cost, and what those cost that train."""
    planned: dict[str, int] = defaultdict(int)
    for stage in source.plan.stages.values():
        planned[stage.kind.value] += 1
    by_kind: dict[str, list[Record]] = {kind: [] for kind in planned}
    by_plugin: dict[tuple[str, str], list[Record]] = {}
    for key, record in records.items():
        stage = source.plan.stages[key]
        by_kind[stage.kind.value].append(record)
        if stage.kind in _TRAINING and stage.uses:
            names = " with ".join(use.name for use in stage.uses)
            by_plugin.setdefault((stage.kind.value, names), []).append(record)
    if not records:
        return
    rows = [
        [kind, f"{len(found)} of {planned[kind]}", *_sums(found)] for kind, found in by_kind.items()
    ]
    rows.append(["all", f"{len(records)} of {len(source.plan.stages)}", *_sums(records.values())])
    yield plain("By kind of stage", ["Stage", "Done", *_SUMS], rows, numbers=1 + len(_SUMS))
    rows = [[*names, str(len(found)), *_sums(found)] for names, found in by_plugin.items()]
    headings = ["Stage", "Plugin", "Stages", *_SUMS]
    yield plain("Trainings, by plugin", headings, rows, numbers=1 + len(_SUMS))


_TRAINING = frozenset(
    {StageKind.PRETRAIN, StageKind.REPAIR, StageKind.FIT_DETECTOR, StageKind.FIT_TRIGGER}
)

_SUMS = ("Wall s", "CPU s", "Most memory GiB", "On disk MB")


def _sums(records: Iterable[Record]) -> list[str]:
    found = list(records)
    size = sum(said["bytes"] for one in found for said in one.files.values())
    return [
        f"{sum(one.wall_s for one in found):,.1f}",
        f"{sum(one.cpu_s for one in found):,.1f}",
        f"{max((one.peak_mem_gib for one in found), default=0.0):.2f}",
        f"{size / 1e6:,.1f}",
    ]


def _datasets(records: Mapping[str, Record]) -> Table:
    rows = []
    for record in records.values():
        if isinstance(record.metadata, DatasetRecord):
            one = record.metadata.dataset
            size = "of many sizes" if one.size is None else f"{one.size[0]} × {one.size[1]} px"
            plugin = record.stage.plugin
            name = plugin.name if plugin is not None else NONE
            rows.append([name, size, str(len(one.classes)), str(one.train), str(one.val)])
    headings = ["Plugin", "Images", "Classes", "Training images", "Validation images"]
    return plain("Datasets", headings, rows, numbers=3)


def _environments(records: Mapping[str, Record]) -> Iterator[Table]:
    found = environments(records.values())
    for number, one in enumerate(found, start=1):
        which = f"Environment {number} of {len(found)}" if len(found) > 1 else "Environment"
        rows = [[name, _listed(value)] for name, value in one.items()]
        yield plain(which, ["Name", "Value"], rows)


def _listed(value: Any) -> str:
    """Return a value for people: of several names, each with its value."""
    if not isinstance(value, Mapping):
        return shown(value)
    return ", ".join(f"{name} {shown(one)}" for name, one in value.items()) or "–"
