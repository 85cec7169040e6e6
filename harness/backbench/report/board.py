"""From a plan and a store, or from a bundle, to a leaderboard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from backbench.benchmark.claims import Judgement, judge
from backbench.benchmark.config import Benchmark
from backbench.benchmark.file import Claim
from backbench.errors import UsageError
from backbench.metrics import Denominator
from backbench.model import Plan
from backbench.plugin import MetricInfo
from backbench.plugin.registry import Registry, suggestion
from backbench.results.leaderboard import Leaderboard, build
from backbench.results.outcomes import predictions_in, reader
from backbench.results.outdated import Outdatedness
from backbench.results.reported import add_reported
from backbench.results.rescore import Rescorer, Rescoring
from backbench.store.store import Store
from backbench.verification.bundle import open_bundle
from backbench.verification.imported import with_imported


@dataclass(frozen=True, slots=True)
class Counting:
    """How predictions are counted, where not as the benchmark says.

    Args:
        benchmark: The benchmark.
        asr: Images that ``asr`` is a share of.
        target: Class that is taken for the target.
        metrics: Names of metrics of plugins to compute besides.
    """

    benchmark: Benchmark
    asr: Denominator | None = None
    target: str | None = None
    metrics: tuple[str, ...] = ()

    def rescoring(self, registry: Registry) -> Rescoring | None:
        """Return what is counted differently; ``None`` if nothing is.

        Raises:
            UsageError: If there is no such class, or no such metric.
        """
        if self.asr is None and self.target is None and not self.metrics:
            return None
        for name, metadata in self.benchmark.metadata.items():
            if self.target is not None and self.target not in metadata.classes:
                hint = suggestion(self.target, metadata.classes)
                raise UsageError(f"--target: dataset {name!r} has no class {self.target!r}{hint}")
        metrics = dict.fromkeys(self.metrics)
        found = tuple(registry.find(MetricInfo.kind, name) for name in metrics)
        return Rescoring(self.asr, self.target, found)


def board_of(
    registry: Registry, plan: Plan, store: Store, counting: Counting | None = None
) -> Leaderboard:
    """Return the leaderboard of a plan: what is in the store, what others have reported of it.

    The rows of imported bundles come last. Where predictions are counted differently, neither
    reported nor imported figures are shown: they are counted otherwise.

    Args:
        registry: The installed plugins.
        plan: The plan.
        store: Where records and predictions are.
        counting: How predictions are counted.
    """
    columns = registry.columns()
    how = counting.rescoring(registry) if counting else None
    if how is not None:
        rescorer = Rescorer(store, how)
        board = build(
            plan,
            rescorer.record,
            store.failure,
            extra=(*columns, *how.columns),
            outcomes_of=rescorer.outcomes,
        )
        return replace(board, rescored=how.line)
    found = Outdatedness(plan, store)
    board = build(
        plan,
        found.record,
        store.failure,
        extra=columns,
        outcomes_of=reader(found.record, predictions_in(store)),
        older_of=found.older,
    )
    return with_imported(add_reported(board, plan), plan, store, columns)


def bundle_board(registry: Registry, path: Path) -> Leaderboard:
    """Return the leaderboard of a bundle.

    Args:
        registry: The installed plugins.
        path: The bundle's file.

    Raises:
        UsageError: If it is no bundle.
    """
    with open_bundle(path) as bundle:
        return build(
            bundle.plan,
            bundle.record,
            lambda _key: None,
            extra=registry.columns(),
            outcomes_of=reader(bundle.record, bundle.predictions),
        )


def judged(
    registry: Registry, plan: Plan, store: Store, claims: Sequence[Claim]
) -> list[Judgement]:
    """Judge claims by the predictions in a store.

    Args:
        registry: The installed plugins.
        plan: The plan whose cells the claims are about.
        store: Where records and predictions are.
        claims: The claims.
    """
    named = {claim.metric.partition("@")[0] for claim in claims}
    metrics = [name for name in registry.names(MetricInfo.kind) if name in named]
    how = Rescoring(metrics=tuple(registry.find(MetricInfo.kind, name) for name in metrics))
    rescorer = Rescorer(store, how)

    def metrics_of(key: str) -> dict[str, float] | None:
        record = rescorer.record(key)
        return None if record is None else dict(record.metrics)

    return [judge(claim, plan.cells, metrics_of) for claim in claims]
