"""Options for the rows that ``show`` prints, their counts and their order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

import click

from backbench.cli.options.filters import filter_option
from backbench.cli.options.shared import together
from backbench.model import Axis

if TYPE_CHECKING:
    from backbench.api import Planned
    from backbench.report.detectors import Sheet

#: Tables of a plan and its store, by the option that requests them.
SHEETS: Final[Mapping[str, Callable[[Planned], Sheet]]] = {
    "detection": lambda planned: planned.detection(),
    "verdicts": lambda planned: planned.verdicts(),
    "each-verdict": lambda planned: planned.each_verdict(),
}

row_options = together(
    click.option("--sort", metavar="NAME", help="Field or metric; -NAME for descending."),
    filter_option,
    click.option(
        "--over",
        type=click.Choice(["attacks"]),
        help="One row for all attacks of a method: columns of their worst case and of their mean.",
    ),
    click.option(
        "--group",
        type=click.Choice([*map(str, Axis), "nothing"]),
        default="evaluator",
        show_default=True,
        help="One table for each value of this field.",
    ),
    click.option(
        "--trace",
        metavar="ROW",
        help="How a row came about, from the file to the predictions: "
        "method=byol,attack=none,… until one row is left.",
    ),
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

counting_options = together(
    click.option(
        "--asr",
        type=click.Choice(["all-images", "other-classes"]),
        help="Count differently: which images ASR is a share of.",
    ),
    click.option("--target", metavar="CLASS", help="Count differently: the target class."),
    click.option(
        "--metric",
        "metrics",
        multiple=True,
        metavar="NAME",
        help="Show this metric's column only; repeat it for several.",
    ),
)
