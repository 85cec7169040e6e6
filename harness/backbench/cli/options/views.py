"""Options for the tables that ``show`` prints instead of the leaderboard."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

import click

from backbench.cli.options.shared import together

if TYPE_CHECKING:
    from backbench.api import Planned
    from backbench.report.detectors import Sheet

#: Tables of a plan and its store, by the option that requests them.
SHEETS: Final[Mapping[str, Callable[[Planned], Sheet]]] = {
    "detection": lambda planned: planned.detection(),
    "verdicts": lambda planned: planned.verdicts(),
    "each-verdict": lambda planned: planned.each_verdict(),
}

view_options = together(
    click.option(
        "--detection",
        "view",
        flag_value="detection",
        help="Instead: what the defenses found and dropped, and what they cost.",
    ),
    click.option(
        "--detectors",
        "view",
        flag_value="detectors",
        help="Instead: how well detectors separate triggered from clean images, with control.",
    ),
    click.option(
        "--verdicts",
        "view",
        flag_value="verdicts",
        help="Instead: how often the verdicts on encoders are right, and their AUROC.",
    ),
    click.option(
        "--each-verdict",
        "view",
        flag_value="each-verdict",
        help="Instead: the verdict on each encoder.",
    ),
    click.option(
        "--trade-off",
        "view",
        flag_value="trade-off",
        help="Instead: accuracy lost against ASR removed, for each defense.",
    ),
)
