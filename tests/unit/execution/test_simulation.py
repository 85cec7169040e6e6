"""Simulated schedules against schedules that were worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.conftest import Bench
from tests.factories import record

from backbench import load
from backbench.errors import UsageError
from backbench.execution.simulation import Cluster, Schedule, Timed, simulate
from backbench.model import PluginUse, Stage, StageKind
from backbench.store.store import Store, hash_files


def stage(name: str, *inputs: Stage, devices: int = 1) -> Stage:
    use = PluginUse("ssl_method", name, "backbench", 1, {"devices": devices}, {"name": name})
    roles = {f"input{index}": one.key for index, one in enumerate(inputs)}
    return Stage(StageKind.PRETRAIN, use, 0, inputs=roles, label=name)


def schedule(
    cluster: str, *timed: tuple[Stage, float | None], sizes: dict[str, int] | None = None
) -> Schedule:
    stages = {one.key: one for one, _ in timed}
    seconds = {one.key: wall for one, wall in timed if wall is not None}
    known = {one.key: size for one in (A, B, C, D) if (size := (sizes or {}).get(one.label))}
    return simulate(Timed(stages, seconds, known, {}), Cluster.parse(cluster))


A = stage("a")
B = stage("b", A)
C = stage("c", A)
D = stage("d", B, C)


def test_a_chain_takes_its_sum_on_any_cluster() -> None:
    last = stage("e", B)
    found = schedule("2x2", (A, 1.0), (B, 2.0), (last, 3.0))
    assert found.seconds == found.critical_s == 6.0
    assert found.critical == (A.key, B.key, last.key)
    assert found.utilization == 6 / (6 * 4)


def test_stages_that_read_nothing_fill_the_slots() -> None:
    four = [(stage(name), 2.0) for name in "wxyz"]
    assert schedule("1x1", *four).seconds == 8.0
    found = schedule("2x1", *four)
    assert (found.seconds, found.utilization, found.critical_s) == (4.0, 1.0, 2.0)
    assert schedule("1x8", *four).seconds == 2.0


def test_a_diamond_waits_for_its_longer_side() -> None:
    # a 0-1; b 1-3 and c 1-6 beside each other; d 6-7
    found = schedule("1x2", (A, 1.0), (B, 2.0), (C, 5.0), (D, 1.0))
    assert found.seconds == 7.0
    assert found.critical == (A.key, C.key, D.key)
    assert found.busy_s == 9.0


def test_a_stage_of_two_devices_gets_its_turn() -> None:
    # first 0-3; wide waits for two slots of one machine, and last waits behind it: 3-4, 4-5
    first, wide, last = stage("first"), stage("wide", devices=2), stage("last")
    found = schedule("1x2", (first, 3.0), (wide, 1.0), (last, 1.0))
    assert found.seconds == 5.0
    assert found.busy_s == 3 + 2 + 1
    # on two machines wide has one of its own: 0-1; last 0-1 beside first
    assert schedule("2x2", (first, 3.0), (wide, 1.0), (last, 1.0)).seconds == 3.0
    # more devices than a machine has slots: all of them
    assert schedule("1x1", (wide, 1.0)).seconds == 1.0


def test_an_input_is_fetched_once_a_machine_and_not_where_it_was_made() -> None:
    sizes = {"a": 100, "b": 10, "c": 20, "d": 1}
    # one machine has made everything itself
    found = schedule("1x2", (A, 1.0), (B, 2.0), (C, 5.0), (D, 1.0), sizes=sizes)
    assert (found.read, found.written, found.unsized) == (0, 131, 0)
    # b runs beside a's artifact; c elsewhere fetches it (100); d runs with c's 20 and fetches 10
    found = schedule("2x1", (A, 1.0), (B, 2.0), (C, 5.0), (D, 1.0), sizes=sizes)
    assert found.read == 110
    # a is in the store: each of two machines fetches it
    found = schedule("2x1", (B, 2.0), (C, 5.0), sizes={"a": 100, "b": 10})
    assert (found.read, found.written, found.unsized) == (200, 10, 1)


def test_what_has_no_measured_time_is_named_and_counts_nothing() -> None:
    found = schedule("1x1", (A, 1.0), (B, None), (C, 2.0), (D, None))
    assert found.seconds == 3.0
    assert found.unmeasured == {"pretrain b": 1, "pretrain d": 1}
    assert schedule("4x8").as_json()["utilization"] == 0.0


@pytest.mark.parametrize("text", ["", "4", "0x8", "4x0", "axb", "4x8x", "4 x 8", "-1x2"])
def test_another_description_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="say machines x stages at a time"):
        Cluster.parse(text)


def test_a_description_is_read() -> None:
    assert Cluster.parse("4x8xNVIDIA A100") == Cluster(4, 8, "NVIDIA A100")
    assert str(Cluster.parse("04x8")) == "4x8"


def test_plan_simulates_by_the_records_of_a_device(bench: Bench, tiny_file: Path) -> None:
    store = Store(tiny_file.parent / "store")
    store.prepare()
    plan = load(tiny_file).plan(store=store.root).plan
    first, *others = [one for one in plan.stages.values() if one.kind is StageKind.FEATURES]
    read = next(iter(first.inputs.values()))
    for one, wall in ((first, 7.0), (plan.stages[read], 1.0)):
        with store.writing(one.key) as folder:
            (folder / "file").write_bytes(b"x" * 50)
            gpu = {"gpu": "NVIDIA H200", "device": "cuda:0", "processor": "other"}
            made = record(one.key, one, wall_s=wall, files=hash_files(folder), provenance=gpu)
            store.publish(folder, made)
    file = str(tiny_file)
    content = json.loads(bench("plan", file, "--cluster", "2x2xh200", "--format", "json").out)
    found = content["cluster"]
    assert found["measured_on"]["NVIDIA H200"] >= 1
    same = [one for one in others if one.inputs.keys() == first.inputs.keys()]
    assert found["unmeasured"].get("features", 0) == len(others) - len(same)
    assert found["seconds"] >= 7.0 * len(same) / 4 > 0
    shown = bench("plan", file, "--cluster", "2x2xA100").assert_ok().out
    assert "on 2x2xA100 (simulated): 0 s" in shown
    assert "times: mean of the store's records, by device: none" in shown
    assert "without a measured time, counted as 0 s: " in shown
    assert bench("plan", file, "--cluster", "2by2").code == 2
