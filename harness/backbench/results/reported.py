"""Figures published elsewhere, beside the rows that measure the same."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from importlib import resources
from typing import Any

from backbench.benchmark import reproductions
from backbench.model import NONE, Axis, Cell, Plan, StageKind
from backbench.results.leaderboard import Leaderboard, Reported


def add_reported(board: Leaderboard, plan: Plan) -> Leaderboard:
    """Put the figures that others have published beside the rows that they are of."""
    figures = [one for one in _figures() if one["protocol"] == plan.protocol]
    if not figures:
        return board
    cells = {tuple(cell.name.row.values()): cell for cell in plan.cells}
    rows = []
    for row in board.rows:
        cell = cells.get(tuple(row.names[axis] for axis in Axis))
        found = _reported(figures, plan, cell) if cell else {}
        rows.append(replace(row, reported=found) if found else row)
    return replace(board, rows=tuple(rows))


@functools.cache
def _figures() -> tuple[Mapping[str, Any], ...]:
    """Return the figures of every reproduction."""
    return tuple(
        figure
        for folder in sorted(resources.files(reproductions).iterdir(), key=lambda one: one.name)
        if (file := folder.joinpath("reported.toml")).is_file()
        for figure in tomllib.loads(file.read_text(encoding="utf-8"))["figures"]
    )


def _reported(figures: list[Mapping[str, Any]], plan: Plan, cell: Cell) -> dict[str, Reported]:
    """Return what is reported of a cell, by metric."""
    uses = {plan.stages[key].kind: plan.stages[key].plugin for key in cell.path}
    attack, method = uses.get(StageKind.POISON), uses.get(StageKind.PRETRAIN)
    found: dict[str, Reported] = {}
    if attack is None or method is None or cell.name.defense != NONE:
        return found
    for figure in figures:
        same = cell.name.evaluator == figure["evaluator"] and (
            figure["attack"].items() <= attack.options.items()
        )
        setting = str(figure["setting"])
        if attack.options.get("trigger_sha256") != figure["trigger_sha256"]:
            setting += "; our trigger is another"
        for metric, value in (figure["percent"].get(method.name, {}) if same else {}).items():
            found[metric] = Reported(round(value / 100, 6), str(figure["source"]), setting)
    return found
