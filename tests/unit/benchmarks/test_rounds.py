"""Rounds: order, refusal, statistics, and the protocol with real processes."""

import sys

import pytest


def turn(rounds, units, seconds=1.0, cpu_s=1.0):
    return rounds.Turn([{"units": units, "seconds": seconds, "peak_mib": 1}], cpu_s)


def gathered(shares, rounds_wanted=2, repeats=3):
    """Gather rounds of two contenders; ``shares`` are what others took, turn by turn."""
    from benchmarks import rounds

    shares, asked, said = iter(shares), [], []

    def measure(index):
        asked.append(index)
        return turn(rounds, 10.0 * (index + 1)), next(shares)

    found = rounds.gather(["a", "b"], measure, rounds_wanted, repeats, said.append)
    return found, asked, said


def test_the_order_is_swapped_every_round():
    _, asked, _ = gathered([0.0] * 8, rounds_wanted=4)
    assert asked == [0, 1, 1, 0, 0, 1, 1, 0]


def test_a_disturbed_round_is_repeated_and_does_not_count():
    found, asked, said = gathered([0.0, 0.06, 0.05, 0.0, 0.0, 0.0])
    assert asked == [0, 1, 0, 1, 1, 0]
    assert (found.repeated, found.disturbed) == (1, 0)
    assert found.of["a"].rates == [10, 10]
    assert found.noise == [0.05, 0.0]
    assert "6% of a core" in said[0]


def test_repeats_are_limited_and_then_the_round_counts_as_disturbed():
    found, asked, _ = gathered([1.0] * 6, rounds_wanted=1, repeats=2)
    assert len(asked) == 6
    assert (found.repeated, found.disturbed) == (2, 1)
    assert found.of["b"].rates == [20]


def test_ratios_are_taken_round_by_round():
    from benchmarks.rounds import Measured, Spread, cpu_ratio, ratio

    ours = Measured("ours", [10, 20, 60], [2, 1, 1], [4, 1, 2])
    peer = Measured("peer", [5, 5, 10], [1, 1, 2], [1, 1, 1])
    assert ratio(ours, peer) == Spread(4, 2, 6, 3)
    # units per CPU-second: ours 5, 20, 30; the peer's 5, 5, 20
    assert cpu_ratio(ours, peer) == Spread(1.5, 1, 4, 3)


def test_several_processes_count_together_until_the_last_has_ended():
    from benchmarks import rounds

    answers = [{"units": 30, "seconds": 2.0}, {"units": 30, "seconds": 3.0, "peak_mib": 7}]
    found = rounds.gather(["a"], lambda _: (rounds.Turn(answers, 5.0), 0.0), 1, 0, lambda _: None)
    assert found.of["a"].rates == [20]
    assert found.of["a"].per_cpu_second == [12]
    assert found.of["a"].peak_mib == [7]


@pytest.mark.parametrize(("text", "cores"), [("0", {0}), ("0-1", {0, 1}), ("0,2-3", {0, 2, 3})])
def test_cores(text, cores):
    from benchmarks.rounds import cores_of

    assert cores_of(text) == cores


def test_what_others_took():
    from benchmarks.processes import Reading, machine_busy, others, process_line

    # 4 s: the machine was busy for 6 s, of which 5.8 s were ours
    before, after = Reading(10, 100, 20), Reading(14, 106, 25.8)
    assert others(before, after) == pytest.approx(0.05)
    assert others(before, Reading(14, 103, 25)) == 0  # ticks are coarse
    # user nice system idle iowait irq softirq steal guest guest_nice
    assert machine_busy("cpu  100 10 20 9999 50 3 4 13 70 8\ncpu0 1") == 1.5
    fields = "S 7 " + " ".join("0" for _ in range(9)) + " 100 20 30 50 20 0"
    assert process_line(f"12 (a ) b) {fields}") == (7, 2.0)


WORKER = """
import sys
from benchmarks.worker import serve

def prepare():
    print("a library talks")
    return [0]

def timed(state):
    state[0] += 1
    return {"units": 5, "times": state[0], "process": sys.argv[1]}

serve(prepare, timed)
"""


@pytest.mark.parametrize(("fresh", "times"), [(False, [1, 2]), (True, [1, 1])])
def test_the_protocol(tmp_path, fresh, times):
    from benchmarks.rounds import Contender, interleave

    file = tmp_path / "worker.py"
    file.write_text(WORKER)
    command = [sys.executable, str(file), "{process}"]
    found = interleave([Contender("one", command, processes=2, fresh=fresh)], 2, repeats=0)
    answers = found.of["one"].answers
    assert [[one["process"] for one in turn] for turn in answers] == [["0", "1"]] * 2
    assert [turn[0]["times"] for turn in answers] == times


def test_a_worker_that_ends_is_an_error_with_its_last_words(tmp_path):
    from benchmarks.rounds import Contender, interleave

    command = [sys.executable, "-c", "raise SystemExit('no such data')"]
    with pytest.raises(RuntimeError, match=r"(?s)broken: ended with 1:.*no such data"):
        interleave([Contender("broken", command)], 1)
