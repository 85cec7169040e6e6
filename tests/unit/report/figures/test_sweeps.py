"""Sweeps: rows that differ in one swept option are a line, with interval and control."""

from __future__ import annotations

from backbench.model import Axis
from backbench.report.figures.sweeps import sweep_figures
from backbench.results.leaderboard import Row
from backbench.results.statistics import Summary
from tests.unit.report.figures.drawn import checked


def row(attack: str, asr: float, control: float | None = None) -> Row:
    names = dict.fromkeys(Axis, "x") | {Axis.ATTACK: attack, Axis.DEFENSE: "none"}

    def summary(mean: float) -> Summary:
        return Summary(3, mean, 0.1, (mean - 0.05, mean + 0.05), (mean,) * 3)

    controls = {} if control is None else {"asr": summary(control)}
    values = {"asr": summary(asr), "accuracy/clean": summary(0.75)}
    return Row(names, (0, 1, 2), 3, values, controls, {})


ROWS = [
    row("patch@rate.value-0.5", 0.5, 0.125),
    row("patch@rate.value-0.25", 0.25, 0.125),
    row("ctrl", 0.9),
]


def test_a_figure_has_means_intervals_and_controls() -> None:
    figure = checked(lambda: next(sweep_figures(ROWS)))
    assert figure.columns[:5] == (
        "attack.rate.value",
        "n",
        "ASR",
        "ASR, 95 % interval",
        "ASR, control",
    )
    assert figure.rows[0] == (
        "0.25",
        "3",
        "0.250",
        "[0.200, 0.300]",
        "0.125",
        "0.750",
        "[0.700, 0.800]",
    )
    assert "ASR 0.250 at 0.25 and 0.500 at 0.5" in figure.alternative
