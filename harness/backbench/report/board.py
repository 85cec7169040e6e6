"""From a plan and a store, or from a bundle, to a leaderboard."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import cast

from backbench.benchmark.file import Claim
from backbench.benchmark.protocols.card import denominator_of
from backbench.errors import PluginError, UsageError
from backbench.model import NONE, Denominator, Plan
from backbench.plugin import Column, DatasetMetadata, MetricInfo
from backbench.plugin.infos import OWN_METRICS
from backbench.plugin.packages import Failure
from backbench.plugin.registry import Registered, Registry
from backbench.plugin.suggestions import suggestion
from backbench.results.claims import Judgement, cells_of, judge
from backbench.results.detectors import detector_reader, scores_in
from backbench.results.leaderboard import LIFTS, Leaderboard, decimals_of
from backbench.results.outdated import Outdatedness
from backbench.results.plugin_reports import reporting, reports, with_reports
from backbench.results.reader import Broken, Counting, MeasuredOf, predictions_in, reader
from backbench.results.reported import add_reported
from backbench.results.rows import build
from backbench.store.store import Store
from backbench.system.streams import stdout_to_stderr
from backbench.verification.bundle import Bundle, open_bundle
from backbench.verification.imported import with_imported


@dataclass(frozen=True, slots=True)
class Request:
    """Columns to show, and changes to how the benchmark counts predictions.

    ``None`` and an empty ``metrics`` mean: as usual. The datasets' ``metadata`` are for ``target``.
    """

    asr: Denominator | None = None
    target: str | None = None
    metrics: tuple[str, ...] = ()
    metadata: Mapping[str, DatasetMetadata] = field(default_factory=dict)

    @property
    def line(self) -> str:
        """The difference, for the line under a table; empty if there is none."""
        parts = [f"ASR of {self.asr.replace('-', ' ')}"] if self.asr else []
        parts += [f"target {self.target}"] if self.target is not None else []
        return f"rescored: {', '.join(parts)}" if parts else ""

    def counting(self, usual: Counting, plan: Plan) -> Counting:
        """Return how predictions are counted, where they usually are counted otherwise."""
        return replace(
            usual,
            denominator=self.asr or usual.denominator,
            targets=None if self.target is None else self._targets(self.target, plan),
        )

    def _targets(self, target: str, plan: Plan) -> dict[str, int]:
        """Return the index of the target class by key of the evaluation."""
        for name, known in self.metadata.items():
            if target not in known.classes:
                hint = suggestion(target, known.classes)
                raise UsageError(f"--target: dataset {name!r} has no class {target!r}{hint}")
        return {
            key: self.metadata[cell.name.evaluated].classes.index(target)
            for cell in plan.cells
            for key in filter(None, (cell.evaluation, cell.control))
        }

    def columns(self, board: Leaderboard) -> tuple[Column, ...]:
        """Return the columns of a leaderboard that are to be shown."""
        if not self.metrics:
            return tuple(column for column in board.columns if column.usual)
        known = {column.metric: column for column in board.columns}
        found = sorted({name for row in board.rows for name in row.values})
        others = [name for name in (*sorted(OWN_METRICS), *LIFTS, *found) if name not in known]
        beside = {name for row in board.rows for name in row.controls}
        known |= {
            name: Column(name, name, decimals=decimals_of(name), control=name in beside)
            for name in others
        }
        for name in self.metrics:
            if name not in known:
                raise UsageError(f"--metric: no metric is called {name!r}{suggestion(name, known)}")
        return tuple(known[name] for name in dict.fromkeys(self.metrics))


def metrics_of(registry: Registry) -> tuple[Registered, ...]:
    """Return the metrics of plugins."""
    return tuple(registry.find(MetricInfo.kind, name) for name in registry.names(MetricInfo.kind))


def _columns(registry: Registry) -> tuple[Column, ...]:
    """Return the columns of plugins, and those of their metrics."""
    metrics = (cast("MetricInfo", one.info).column for one in metrics_of(registry))
    return (*registry.columns(), *metrics)


def _usual(registry: Registry, plan: Plan) -> Counting:
    """Return how predictions are counted under a plan's protocol."""
    return Counting(
        denominator_of(plan.protocol), metrics=metrics_of(registry), undefended=undefended_in(plan)
    )


def undefended_in(plan: Plan) -> dict[str, str]:
    """Return, by key of an evaluation with a defense, the key of the same one without."""
    keys = {cell.name: cell.evaluation for cell in plan.cells}
    found = {}
    for cell in plan.cells:
        other = keys.get(replace(cell.name, defense=NONE))
        if cell.name.defense != NONE and other is not None:
            found[cell.evaluation] = other
    return found


def _reported(registry: Registry, asked: Collection[str] = ()) -> Broken:
    """Return what reports a broken metric to the registry, once; it raises for one requested."""

    def broken(metric: Registered, error: PluginError) -> None:
        if metric.info.name in asked:
            raise error
        failure = Failure(metric.origin, str(error))
        if failure not in registry.failures:
            registry.failures.append(failure)

    return broken


def measured_in(registry: Registry, plan: Plan, store: Store) -> MeasuredOf:
    """Return a function that reads the metrics of evaluations in a store, as usually counted."""
    read = reader(store.readable, predictions_in(store), _usual(registry, plan))
    return with_reports(read, plan, reports(plan, reporting(store)))


@stdout_to_stderr()  # once, and not around each number of a plugin's metric
def _stored(
    registry: Registry, plan: Plan, store: Store, request: Request, whole: Plan | None = None
) -> Leaderboard:
    """Return the leaderboard of a plan, perhaps of a part, by what is in the store alone."""
    found = Outdatedness(plan, store)
    store.fetch(cell.evaluation for cell in plan.cells)
    counting = request.counting(_usual(registry, whole or plan), plan)
    read = reader(
        found.record, predictions_in(store), counting, _reported(registry, request.metrics)
    )
    reported_of = reports(plan, reporting(store))
    return build(
        plan,
        found.record,
        store.failure,
        extra=_columns(registry),
        measured_of=with_reports(read, plan, reported_of),
        reported_of=reported_of,
        detected_of=detector_reader(
            found.record, scores_in(store), predictions_in(store), counting
        ),
        older_of=None if request.line else found.older,
    )


def board_of(
    registry: Registry, plan: Plan, store: Store, request: Request | None = None
) -> Leaderboard:
    """Return the leaderboard of a plan: what is in the store, what others have reported of it.

    The rows of imported bundles come last. Where predictions are counted differently, neither
    reported, imported nor outdated figures are shown: they are counted otherwise. A class or a
    metric of the request that does not exist raises a UsageError.
    """
    request = request or Request()
    board = _stored(registry, plan, store, request)
    if not request.line:
        board = add_reported(board, plan)
        board = with_imported(board, plan, store, partial(_of_bundle, registry))
    return replace(board, rescored=request.line, columns=request.columns(board))


@stdout_to_stderr()
def _of_bundle(registry: Registry, bundle: Bundle, plan: Plan) -> Leaderboard:
    """Return the leaderboard of a plan from the content of a bundle."""
    read = reader(bundle.record, bundle.predictions, _usual(registry, plan), _reported(registry))
    reported_of = reports(plan, bundle.record)
    return build(
        plan,
        bundle.record,
        lambda _key: None,
        extra=_columns(registry),
        measured_of=with_reports(read, plan, reported_of),
        reported_of=reported_of,
        detected_of=detector_reader(
            bundle.record, bundle.scores, bundle.predictions, _usual(registry, plan)
        ),
    )


def bundle_board_of(registry: Registry, bundle: Bundle) -> Leaderboard:
    """Return the leaderboard of an open bundle."""
    board = _of_bundle(registry, bundle, bundle.plan)
    return replace(board, columns=Request().columns(board))


def bundle_board(registry: Registry, path: Path) -> Leaderboard:
    """Return the leaderboard of a bundle."""
    with open_bundle(path) as bundle:
        return bundle_board_of(registry, bundle)


def judged(
    registry: Registry, plan: Plan, store: Store, claims: Sequence[Claim]
) -> list[Judgement]:
    """Judge claims about the cells of a plan by the predictions in a store."""
    needed = {cell.name for claim in claims for cell in cells_of(claim, plan.cells)}
    part = replace(plan, cells=tuple(cell for cell in plan.cells if cell.name in needed))
    board = _stored(registry, part, store, Request(), plan)
    return [judge(claim, plan.cells, board) for claim in claims]
