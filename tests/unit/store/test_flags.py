"""Flags go from a stage's record to the rows of all that is made of it."""

from __future__ import annotations

from typing import Any

import pytest
from tests import factories

from backbench.model import Cell, CellName, Plan
from backbench.store.flags import Flag, Raised, carried, flags_from_json
from backbench.store.records import Record

FLAG = Flag("probe-at-chance", "train longer")


def record(key: str, flags: tuple[Raised, ...] = ()) -> Record:
    metrics = {"accuracy/clean": 0.5} if key.startswith("evaluate") else {}
    return factories.record(key, flags=flags, metrics=metrics)


def records() -> dict[str, Record]:
    made: dict[str, Record] = {}
    for key, inputs, own in (
        ("data", (), []),
        ("healthy", ("data",), []),
        ("flagged", ("data",), [FLAG]),
        ("repaired", ("flagged", "data"), []),
        ("evaluate none", ("flagged",), []),
        ("evaluate repaired", ("repaired", "flagged"), []),
        ("evaluate patch", ("healthy",), []),
    ):
        inherited = (flag for one in inputs for flag in made[one].flags)
        made[key] = record(key, carried(f"stage {key}", own, inherited))
    return made


RECORDS = records()
RAISED = Raised("stage flagged", *FLAG)


def test_a_flag_is_of_all_that_is_made_of_the_stage() -> None:
    for key in ("flagged", "evaluate none", "repaired"):
        assert RECORDS[key].flags == (RAISED,)
    assert RECORDS["evaluate repaired"].flags == (RAISED,)  # once, on two ways
    assert RECORDS["evaluate patch"].flags == ()
    assert str(RAISED) == "stage flagged: probe-at-chance: train longer"


def test_rows_carry_the_flags_of_their_seeds_and_of_their_control() -> None:
    def cell(attack: str, defense: str, seed: int, path: str, control: str | None = None) -> Cell:
        return Cell(CellName("d", attack, "m", defense, "knn", seed), (path,), control)

    cells = (
        cell("none", "none", 0, "evaluate patch"),
        cell("none", "none", 1, "evaluate none"),
        cell("none", "repair", 0, "evaluate repaired"),
        cell("patch", "none", 0, "evaluate patch", "evaluate none"),
        cell("other", "none", 0, "evaluate patch", "evaluate patch"),
    )
    plan = Plan("bench", {}, cells)
    board = factories.board(plan, RECORDS)
    assert [row.flags for row in board.rows] == [(RAISED,), (RAISED,), (RAISED,), ()]
    assert all(row.complete for row in board.rows)


@pytest.mark.parametrize("flags", [3, ["x", None], {"name": "x"}])
def test_what_a_stranger_wrote_there_is_no_flag(flags: Any) -> None:
    content = {**record("one").to_json(), "flags": flags}
    assert Record.from_json(content).flags == ()


def test_a_terminal_is_not_told_to_do_things() -> None:
    one = {"stage": "s", "name": "a\x1b[2J", "sentence": "b\nc"}
    assert flags_from_json([one]) == (Raised("s", "a?[2J", "b?c"),)
