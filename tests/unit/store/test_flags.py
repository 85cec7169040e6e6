"""Flags go from a stage's record to the rows of all that is made of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from backbench.model import Cell, CellName, Plan
from backbench.results.leaderboard import build
from backbench.store.flags import Flag, Raised, as_metadata, carried, raised_in
from backbench.store.records import Record

FLAG = Flag("probe-at-chance", "train longer")


def record(key: str, inputs: tuple[str, ...] = (), **metadata: Any) -> Record:
    return Record(
        key=key,
        stage={"inputs": {f"role {one}": one for one in inputs}},
        label=f"stage {key}",
        metadata=metadata,
        metrics={"accuracy/clean": 0.5} if key.startswith("evaluate") else {},
        wall_s=0,
        cpu_s=0,
        peak_mem_gib=0,
        finished="",
    )


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
        metadata = carried(f"stage {key}", as_metadata(own), [made[one] for one in inputs])
        made[key] = record(key, inputs, **metadata)
    return made


RECORDS = records()
RAISED = Raised("stage flagged", *FLAG)


def test_a_record_without_flags_says_nothing_of_them() -> None:
    assert as_metadata([]) == {}
    assert RECORDS["healthy"].metadata == {}
    assert carried("one", {"images": 3}, [RECORDS["data"]]) == {"images": 3}


def test_a_flag_is_of_all_that_is_made_of_the_stage() -> None:
    for key in ("flagged", "evaluate none", "repaired"):
        assert raised_in(RECORDS[key]) == (RAISED,)
    assert raised_in(RECORDS["evaluate repaired"]) == (RAISED,)  # once, on two ways
    assert raised_in(RECORDS["evaluate patch"]) == ()
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
    board = build(plan, RECORDS.get, lambda _: None)
    assert [row.flags for row in board.rows] == [(RAISED,), (RAISED,), (RAISED,), ()]
    assert all(row.complete for row in board.rows)


@pytest.mark.parametrize(
    "metadata", [{"flags": 3}, {"flags": ["x", None]}, {"flags": {"name": "x"}}]
)
def test_what_a_stranger_wrote_there_is_no_flag(metadata: Mapping[str, Any]) -> None:
    assert raised_in(record("one", **metadata)) == ()


def test_a_terminal_is_not_told_to_do_things() -> None:
    one = {"stage": "s", "name": "a\x1b[2J", "sentence": "b\nc"}
    assert raised_in(record("one", flags=[one])) == (Raised("s", "a?[2J", "b?c"),)
