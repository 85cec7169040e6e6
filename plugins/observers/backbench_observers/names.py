"""Numbers and names of events, as all trackers get them."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from typing import Any

from backbench.plugin import ResultsReady, StageProgress

#: Values of an event that are no curve.
_COUNTERS = frozenset({"epoch", "resumed"})

#: Fields of a record that name its row.
_NAMES = ("dataset", "downstream", "method", "attack", "defense", "evaluator")


def curves(event: StageProgress) -> dict[str, float]:
    """Return the points of curves that an event has: ``loss``, ``lr``, ``feature_spread``."""
    return {
        name: value
        for name, value in event.values.items()
        if name not in _COUNTERS and math.isfinite(value)
    }


def final(event: ResultsReady) -> Iterator[tuple[str, float]]:
    """Yield the name and the mean of each number: ``asr/drawn byol patch-targeted linear``."""
    for record in event.records:
        yield f"{record['metric']}/{row_name(record)}", float(record["mean"])


def row_name(record: Mapping[str, Any]) -> str:
    """Return the name of a record's row: what is on its axes, without ``none``."""
    return " ".join(record[name] for name in _NAMES if record[name] != "none")


def now() -> str:
    """Return the local time, as the name of a run has it: ``2026-11-30 06.43.24``."""
    return time.strftime("%Y-%m-%d %H.%M.%S")
