"""The remaining time: by what has been seen of the same sort."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from backbench.model import PluginUse, Stage, StageKind
from backbench.report.progress.remaining import Remaining, clock
from backbench.report.progress.state import RunState


def stage(kind: StageKind, plugin: str, seed: int) -> Stage:
    use = PluginUse("ssl-method", plugin, "backbench", 1, {}, {})
    return Stage(kind=kind, plugin=use, seed=seed)


BYOL = [stage(StageKind.PRETRAIN, "byol", seed) for seed in (0, 1)]
ROTNET = [stage(StageKind.PRETRAIN, "rotnet", seed) for seed in (0, 1)]


def test_nothing_is_known_at_first() -> None:
    assert math.isnan(Remaining(BYOL, 2).seconds(0))


def test_a_stage_under_way_tells_by_its_progress() -> None:
    remaining = Remaining(BYOL, 1)
    remaining.started(BYOL[0], 100)
    remaining.progressed(BYOL[0], 0.25, 110)
    # 10 s for a quarter: 30 s of this one are left, and 40 s of the other
    assert remaining.seconds(110) == pytest.approx(70)


def test_an_old_report_does_not_make_it_longer() -> None:
    remaining = Remaining(BYOL, 1)
    remaining.started(BYOL[0], 100)
    remaining.progressed(BYOL[0], 0.25, 110)
    assert remaining.seconds(115) == pytest.approx(65)


def test_each_plugin_has_its_own_time_and_slots_share_it() -> None:
    remaining = Remaining(BYOL + ROTNET, 2)
    for one, took in ((BYOL[0], 90), (ROTNET[0], 30)):
        remaining.started(one, 0)
        remaining.ended(one, took)
    assert remaining.seconds(90) == pytest.approx(90)  # the longer one in one slot


def test_slots_share_what_is_left() -> None:
    remaining = Remaining(BYOL + ROTNET, 2)
    remaining.started(BYOL[0], 0)
    remaining.ended(BYOL[0], 90)
    assert remaining.seconds(90) == pytest.approx(2 * 90)  # one of three has no partner


def test_the_longest_stage_may_come_last() -> None:
    options = {"epochs": 8}
    use = PluginUse("ssl-method", "byol", "backbench", 1, options, options)
    last = Stage(StageKind.PRETRAIN, use, 9)
    short = [stage(StageKind.PRETRAIN, "byol", seed) for seed in range(8)]
    remaining = Remaining([*short, last], 2)
    remaining.started(short[0], 0)
    remaining.ended(short[0], 10)
    # seven of 10 s in two slots: the last one begins after 30 s and takes 80 s
    assert remaining.seconds(10) == pytest.approx(30 + 80)


def test_an_earlier_run_counts_as_fast_as_this_one_is() -> None:
    seen = [(BYOL[0], 90.0), (ROTNET[0], 30.0)]
    remaining = Remaining([BYOL[1], ROTNET[1]], 1, seen)
    assert remaining.seconds(0) == pytest.approx(120)
    remaining.started(BYOL[1], 0)
    remaining.progressed(BYOL[1], 0.5, 90)  # twice as long, if it goes on so: half of that counts
    assert remaining.seconds(90) == pytest.approx(0.5 * 135 + 45)
    remaining.ended(BYOL[1], 180)
    assert remaining.seconds(180) == pytest.approx(60)


def test_stages_that_read_each_other_do_not_run_at_a_time() -> None:
    first, second = BYOL
    after = replace(second, inputs={"encoder": first.key})
    remaining = Remaining([first, after], 2)
    remaining.started(first, 0)
    remaining.progressed(first, 0.5, 10)
    assert remaining.seconds(10) == pytest.approx(10 + 20)


def test_what_reads_a_failed_stage_is_not_counted() -> None:
    first, second = BYOL
    after = replace(ROTNET[0], inputs={"encoder": first.key})
    remaining = Remaining([first, after, second], 1)
    remaining.started(second, 0)
    remaining.progressed(second, 0.5, 10)
    remaining.failed(first)
    assert remaining.seconds(10) == pytest.approx(10)


def test_epochs_of_another_plugin_count_no_more_than_the_longest_stage_seen() -> None:
    options = {"epochs": 1000}
    use = PluginUse("defense", "decree", "backbench", 1, options, options)
    inspect = Stage(StageKind.INSPECT, use, 0)
    remaining = Remaining([BYOL[0], inspect], 1)
    remaining.started(BYOL[0], 0)
    remaining.ended(BYOL[0], 50)
    assert remaining.seconds(50) == pytest.approx(50)


def test_epochs_count() -> None:
    short, long = (
        Stage(
            StageKind.PRETRAIN,
            PluginUse("ssl-method", "byol", "backbench", 1, {"epochs": epochs}, {"epochs": epochs}),
            0,
        )
        for epochs in (10, 40)
    )
    remaining = Remaining([short, long], 1)
    remaining.started(short, 0)
    remaining.ended(short, 5)
    assert remaining.seconds(5) == pytest.approx(20)


def test_an_unseen_plugin_counts_as_its_kind() -> None:
    remaining = Remaining([BYOL[0], ROTNET[0]], 1)
    remaining.started(BYOL[0], 0)
    remaining.ended(BYOL[0], 50)
    assert remaining.seconds(50) == pytest.approx(50)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(7.4, "0:07"), (750, "12:30"), (3900, "1:05:00"), (36_061, "10:01:01"), (math.nan, "–")],
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_nothing_is_told_before_a_training_has_been_seen() -> None:
    dataset = stage(StageKind.DATASET, "embedded", 0)
    remaining = Remaining([dataset, *BYOL], 1)
    remaining.started(dataset, 0)
    remaining.ended(dataset, 2)
    assert math.isnan(remaining.seconds(2))


def test_an_estimate_lasts_longer_the_more_stages_are_left() -> None:
    many = [stage(StageKind.PRETRAIN, "byol", seed) for seed in range(1002)]
    state = RunState("b", many)
    state.started(many[0], 0)
    state.finish(many[0], 10)
    assert state.seconds_left(10) == pytest.approx(10 * 1001)
    state.started(many[1], 10)
    state.finish(many[1], 10.5)  # a much shorter one, but the estimate is half a second old
    assert state.seconds_left(10.5) == pytest.approx(10 * 1001 - 0.5)
    assert state.seconds_left(11.5) == pytest.approx(1000 * 5.25)
