"""The store or the bundle that a page is made from, opened when the page is written."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from backbench.model import Plan
from backbench.plugin.registry import Registry
from backbench.store.store import Store

if TYPE_CHECKING:
    from backbench.benchmark.file import Claim
    from backbench.report.html.source import Source
    from backbench.report.results import Opening
    from backbench.results.leaderboard import Leaderboard


def opening_of_store(
    registry: Registry, plan: Plan, store: Store, claims: Sequence[Claim]
) -> Opening:
    """Return what opens the store that a leaderboard is of."""

    def opened(board: Leaderboard) -> AbstractContextManager[Source]:
        from backbench.report.html.source import store_source

        return store_source(registry, plan, store, claims, board)

    return opened


def opening_of_bundle(registry: Registry, path: Path) -> Opening:
    """Return what opens the bundle that a leaderboard is of."""

    def opened(board: Leaderboard) -> AbstractContextManager[Source]:
        from backbench.report.html.source import bundle_source

        return bundle_source(registry, path, board)

    return opened
