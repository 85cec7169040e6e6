"""Tables of the verdicts on encoders. No torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from backbench.errors import printable
from backbench.model import Plan
from backbench.plugin import Column
from backbench.report.sheet import Line, Sheet
from backbench.results.plugin_reports import report_of
from backbench.results.statistics import Summary, summarize
from backbench.results.verdicts import Judged, groups, judged, scored
from backbench.store.records import Record

FIELDS = ("dataset", "defense", "method", "attack")

COLUMNS = (
    Column("verdict/attacked", "Attacked", decimals=0),
    Column("verdict/clean", "Clean", decimals=0),
    Column("verdict/accuracy", "Accuracy"),
    Column("verdict/tpr", "TPR"),
    Column("verdict/fpr", "FPR"),
    Column("verdict/auroc", "AUROC"),
    Column("verdict/average_precision", "AUPRC"),
)
NOTE = (
    "verdicts on encoders, each counted once: Attacked, Clean: their numbers; Accuracy, TPR, FPR: "
    "at the method's own threshold, [low, high]: 95 % interval over encoders by Wilson; AUROC, "
    "AUPRC: of the scores, whatever the threshold, interval of AUROC by Hanley and McNeil's "
    "variance; PLUGIN/NAME, attacked and clean: the defense's own reports, over such encoders; "
    "n: seeds; a line of all methods compares scores across methods"
)

#: Columns that the list of encoders has besides the numbers of each method.
SCORE = (
    Column("verdict/score", "Score"),
    Column("verdict/accused", "Accused", decimals=0),
    Column("cost/seconds", "Seconds", decimals=0),
    Column("cost/cpu_seconds", "CPU s", decimals=0),
    Column("cost/clean_fraction", "Clean needed"),
)
SCORE_NOTE = (
    "the verdict on each encoder: a score above 0 accuses it; attack none: a clean encoder, also "
    "the control of every attack on its method; the other numbers are the defense's own"
)

_NOTHING = "no encoder has been inspected yet"


def verdict_sheet(plan: Plan, record_of: Callable[[str], Record | None]) -> Sheet:
    """Score the verdicts of a plan over its encoders: all, by method, by attack."""
    lines = []
    own: dict[str, Column] = {}
    for group in groups(judged(plan, record_of)):
        names = {name: getattr(group, name) for name in FIELDS}
        seeds = tuple(sorted({one.seed for one in group.encoders}))
        reported = _reported(group.encoders)
        own |= {name: Column(name, printable(name.replace(":", ", "))) for name in reported}
        lines.append(Line(names, seeds, scored(group.encoders) | reported))
    title = f"{plan.benchmark} · verdicts"
    return Sheet(title, FIELDS, (*COLUMNS, *own.values()), tuple(lines), NOTE, _NOTHING)


def _reported(encoders: Iterable[Judged]) -> dict[str, Summary]:
    """Return the numbers that a defense reports of its inspections, over encoders of each kind."""
    found: dict[str, list[float]] = {}
    for one in encoders:
        for name, value in report_of(one.record).items():
            found.setdefault(f"{name}:{'attacked' if one.attacked else 'clean'}", []).append(value)
    return {name: summarize(values) for name, values in found.items()}


def encoder_sheet(plan: Plan, record_of: Callable[[str], Record | None]) -> Sheet:
    """List the encoders of a plan with the verdict on each."""
    fields = (*FIELDS, "seed")
    encoders = judged(plan, record_of)
    own = dict.fromkeys(f"number/{name}" for one in encoders for name in one.verdict.numbers)
    own |= dict.fromkeys(name for one in encoders for name in report_of(one.record))
    named = (Column(name, printable(name.removeprefix("number/"))) for name in own)
    columns = (*SCORE[:2], *named, *SCORE[2:])
    lines = tuple(
        Line({name: str(getattr(one, name)) for name in fields}, (one.seed,), _numbers(one))
        for one in encoders
    )
    title = f"{plan.benchmark} · verdict on each encoder"
    return Sheet(title, fields, columns, lines, SCORE_NOTE, _NOTHING)


def _numbers(one: Judged) -> dict[str, Summary]:
    verdict = one.verdict
    numbers = {
        "verdict/score": verdict.score,
        "verdict/accused": float(verdict.score > 0),
        **{f"number/{name}": value for name, value in verdict.numbers.items()},
        **report_of(one.record),
        "cost/seconds": one.record.wall_s,
        "cost/cpu_seconds": one.record.cpu_s,
        "cost/clean_fraction": verdict.clean_fraction,
    }
    return {name: Summary(1, value, None, None, (value,)) for name, value in numbers.items()}
