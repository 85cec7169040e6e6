"""The tables of a plan besides its leaderboard, by the option of ``show`` that requests them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from backbench.errors import UsageError
from backbench.model import Plan
from backbench.plugin.suggestions import suggestion
from backbench.report.defenses import detection_sheet
from backbench.report.sheet import Sheet
from backbench.report.threats import threat_sheet
from backbench.report.verdicts import encoder_sheet, verdict_sheet
from backbench.store.records import Record

#: Each makes a table of a plan and of what gives its records: those of a store, or of a bundle.
SHEETS: Final[Mapping[str, Callable[[Plan, Callable[[str], Record | None]], Sheet]]] = {
    "detection": detection_sheet,
    "verdicts": verdict_sheet,
    "each-verdict": encoder_sheet,
    "threats": threat_sheet,
}


def sheet_of(view: str, plan: Plan, record_of: Callable[[str], Record | None]) -> Sheet:
    """Return a table of a plan.

    Raises:
        UsageError: If there is none of this name.
    """
    if view not in SHEETS:
        raise UsageError(f"there is no table {view!r}{suggestion(view, SHEETS)}")
    return SHEETS[view](plan, record_of)
