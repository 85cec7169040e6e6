"""Figures published elsewhere, beside the rows that measure the same."""

from __future__ import annotations

from dataclasses import replace

from backbench.benchmark.reported.figures import Figure, SameRow, reported_sources
from backbench.model import NONE, Axis, Cell, Plan, PluginUse, StageKind
from backbench.results.leaderboard import Leaderboard, Reported

_Placed = tuple[str, Figure, SameRow]


def add_reported(board: Leaderboard, plan: Plan) -> Leaderboard:
    """Put the figures that others have published beside the rows that they are of."""
    figures: list[_Placed] = [
        (source.title, figure, figure.row)
        for source in reported_sources().values()
        for figure in source.figures
        if figure.row and figure.row.protocol == plan.protocol
    ]
    if not figures:
        return board
    cells = {tuple(cell.name.row.values()): cell for cell in plan.cells}
    rows = []
    for row in board.rows:
        cell = cells.get(tuple(row.names[axis] for axis in Axis))
        found = _reported(figures, plan, cell) if cell else {}
        rows.append(replace(row, reported=found) if found else row)
    return replace(board, rows=tuple(rows))


def _reported(figures: list[_Placed], plan: Plan, cell: Cell) -> dict[str, Reported]:
    """Return what is reported of a cell, by metric."""
    uses = {plan.stages[key].kind: plan.stages[key].plugin for key in cell.path}
    attack = uses.get(StageKind.POISON) or uses.get(StageKind.IMPLANT)
    method = uses.get(StageKind.PRETRAIN)
    found: dict[str, Reported] = {}
    if attack is None or method is None or cell.name.defense != NONE:
        return found
    for source, figure, row in figures:
        if _is_of(figure, row, attack, method) and cell.name.evaluator == row.evaluator:
            setting = figure.setting
            if row.trigger_sha256 not in {None, attack.options.get("trigger_sha256")}:
                setting += "; our trigger is another"
            for metric, value in figure.scaled.items():
                found[metric] = Reported(value, source, setting)
    return found


def _is_of(figure: Figure, row: SameRow, attack: PluginUse, method: PluginUse) -> bool:
    return (
        (figure.attack, figure.method, figure.defense) == (attack.name, method.name, NONE)
    ) and row.attack.items() <= attack.options.items()
