"""Options for the tables that ``show`` prints instead of the leaderboard."""

from __future__ import annotations

import click

from backbench.cli.options.shared import together

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
        "--threats",
        "view",
        flag_value="threats",
        help="Instead: the threat model of each attack, what it requested.",
    ),
    click.option("--watch", "view", flag_value="watch", help="Instead: the run that is going on."),
    click.option("--map", "mapped", metavar="METRIC", help="Instead: a heat map of one metric."),
    click.option(
        "--trade-off",
        "view",
        flag_value="trade-off",
        help="Instead: accuracy lost against ASR removed, for each defense.",
    ),
    click.option(
        "--sweep",
        "view",
        flag_value="sweep",
        help="Instead: ASR and accuracy against each swept option.",
    ),
)
