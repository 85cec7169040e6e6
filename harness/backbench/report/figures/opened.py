"""An open store or bundle to draw figures from; a bundle has neither images nor encoders."""

from __future__ import annotations

import io
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

from backbench.model import Plan
from backbench.plugin.registry import Registry
from backbench.results.reader import predictions_in
from backbench.store.records import Record
from backbench.store.store import Store
from backbench.verification.bundle import Bundle

_Made = TypeVar("_Made")

#: Results that are kept at hand: the cells of an encoder come one after another.
_AT_HAND = 64


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """An open store or bundle.

    Args:
        plan: Its plan.
        record_of: Gives the record of a stage.
        predictions_of: Gives an evaluation's file of predictions, or its content.
        content: Gives a file of a stage's artifact, by key and name, if it is there.
        registry: The installed plugins.
        store: The store; ``None`` of a bundle.
    """

    plan: Plan
    record_of: Callable[[str], Record | None]
    predictions_of: Callable[[Record], str | io.BytesIO | None]
    content: Callable[[str, str], bytes | None]
    registry: Registry
    store: Store | None = None
    _made: dict[Hashable, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of_store(cls, registry: Registry, plan: Plan, store: Store) -> Self:
        """Open a store."""

        def content(key: str, name: str) -> bytes | None:
            path = store.artifact(key) / name
            return path.read_bytes() if path.is_file() else None

        return cls(plan, store.readable, predictions_in(store), content, registry, store)

    @classmethod
    def of_bundle(cls, registry: Registry, bundle: Bundle) -> Self:
        """Open a bundle, which must stay open as long as figures are drawn."""

        def content(key: str, name: str) -> bytes | None:
            return bundle.read(key, name) if name in bundle.artifacts.get(key, ()) else None

        return cls(bundle.plan, bundle.record, bundle.predictions, content, registry)

    def once(self, key: Hashable, make: Callable[[], _Made]) -> _Made:
        """Return what was made under a key before, or make it: cells share encoders and poisons."""
        if key not in self._made:
            while len(self._made) >= _AT_HAND:
                del self._made[next(iter(self._made))]
            self._made[key] = make()
        found: _Made = self._made[key]
        return found
