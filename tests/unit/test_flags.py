"""Flags go from a stage's record to the rows of all that is made of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from backbench.flags import Flag, Raised, as_facts, flags_in, reader
from backbench.leaderboard import build
from backbench.model import Cell, CellName, Plan
from backbench.records import Record

FLAG = Flag("probe-at-chance", "train longer")


def record(key: str, inputs: tuple[str, ...] = (), **facts: Any) -> Record:
    return Record(
        key=key,
        stage={"inputs": {f"role {one}": one for one in inputs}},
        label=f"stage {key}",
        facts=facts,
        metrics={"accuracy/clean": 0.5} if key.startswith("evaluate") else {},
        wall_s=0,
        cpu_s=0,
        peak_mem_gib=0,
        finished="",
    )


RECORDS = {
    one.key: one
    for one in (
        record("data"),
        record("healthy", ("data",)),
        record("flagged", ("data",), **as_facts([FLAG])),
        record("repaired", ("flagged", "data")),
        record("evaluate none", ("flagged",)),
        record("evaluate repaired", ("repaired",)),
        record("evaluate patch", ("healthy",)),
        record("evaluate lost", ("not there",)),
    )
}
RAISED = Raised("stage flagged", *FLAG)


def test_a_record_without_flags_says_nothing_of_them() -> None:
    assert as_facts([]) == {}
    assert flags_in({}) == ()
    assert flags_in(as_facts([FLAG, FLAG])) == (FLAG, FLAG)


def test_a_flag_is_of_all_that_is_made_of_the_stage() -> None:
    flags_of = reader(RECORDS.get)
    assert flags_of("flagged") == flags_of("evaluate none") == (RAISED,)
    assert flags_of("evaluate repaired") == (RAISED,)  # once, on two ways
    assert flags_of("evaluate patch") == flags_of("evaluate lost") == flags_of("gone") == ()
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
    board = build(plan, RECORDS.get, lambda _: None, flags_of=reader(RECORDS.get))
    assert [row.flags for row in board.rows] == [(RAISED,), (RAISED,), (RAISED,), ()]
    assert all(row.complete for row in board.rows)
    assert not any(row.flags for row in build(plan, RECORDS.get, lambda _: None).rows)


@pytest.mark.parametrize("facts", [{"flags": 3}, {"flags": ["x", None]}, {"flags": {"name": "x"}}])
def test_what_a_stranger_wrote_there_is_no_flag(facts: Mapping[str, Any]) -> None:
    assert flags_in(facts) == ()


def test_a_terminal_is_not_told_to_do_things() -> None:
    (flag,) = flags_in({"flags": [{"name": "a\x1b[2J", "sentence": "b\nc"}]})
    assert flag == Flag("a?[2J", "b?c")
