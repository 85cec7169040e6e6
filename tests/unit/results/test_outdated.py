"""What an older revision of a plugin made is shown, marked, ranked nowhere, and redone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.conftest import Bench
from tests.predictions import predicted_store

from backbench.benchmark.config import Benchmark, load_benchmark
from backbench.benchmark.planning import make_plan
from backbench.model import CellName, Plan, Stage
from backbench.plugin.registry import load_registry
from backbench.report.board import board_of
from backbench.results.outdated import Outdatedness
from backbench.results.ranking import extremes
from backbench.results.reader import Counting, predictions_in, reader
from backbench.results.rows import build
from backbench.store.store import Store


def right(_stage: Stage, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return labels, labels


def revised(benchmark: Benchmark, axis: str, name: str, revision: int) -> Benchmark:
    """Return a benchmark one of whose plugins has another revision."""
    instance = benchmark.instances[axis][name]
    info = replace(instance.registered.info, revision=revision)
    other = replace(instance, registered=replace(instance.registered, info=info))
    instances = {**benchmark.instances, axis: {**benchmark.instances[axis], name: other}}
    return replace(benchmark, instances=instances)


@pytest.fixture
def benchmark(tiny_file: Path) -> Benchmark:
    return load_benchmark(tiny_file, load_registry())


def planned(benchmark: Benchmark) -> Plan:
    return make_plan(benchmark, {k: d.fingerprint(str) for k, d in benchmark.datasets.items()})


@pytest.mark.parametrize(
    ("axis", "name", "seen"),
    [
        ("evaluators", "knn", "knn revision 0, now 1"),
        ("methods", "rotnet", "rotnet revision 0, now 1"),
        ("attacks", "targeted", "patch revision 0, now 1"),
    ],
)
def test_what_an_older_revision_made_is_found(
    tmp_path: Path, benchmark: Benchmark, axis: str, name: str, seen: str
) -> None:
    def concerns(cell: CellName) -> bool:
        return name in (cell.evaluator, cell.method, cell.attack)

    old = predicted_store(tmp_path / "s", revised(benchmark, axis, name, 0), right)
    plan = planned(benchmark)
    found = Outdatedness(plan, Store(tmp_path / "s"))
    for cell, before in zip(plan.cells, old.cells, strict=True):
        record = found.older(cell.evaluation)
        if concerns(cell.name):
            assert record is not None
            assert (record.key, record.outdated) == (before.evaluation, seen)
            assert found.record(cell.evaluation) is None
        else:
            assert record is None
            assert found.record(cell.evaluation) is not None
    outdated = found.outdated_part()
    assert {cell.name for cell in outdated.cells} == {
        c.name for c in plan.cells if concerns(c.name)
    }
    assert set(outdated.stages) < set(plan.stages)
    for stage in outdated.stages.values():
        assert set(stage.inputs.values()) <= set(outdated.stages)


def test_a_newer_revision_or_other_options_are_not_older(
    tmp_path: Path, benchmark: Benchmark
) -> None:
    predicted_store(tmp_path / "s", revised(benchmark, "evaluators", "knn", 2), right)
    text = (tmp_path / "benchmarks.toml").read_text(encoding="utf-8")
    (tmp_path / "other.toml").write_text(text + "[evaluators.knn]\nk = 3\n", encoding="utf-8")
    other = load_benchmark(tmp_path / "other.toml", load_registry())
    for one in (benchmark, other):
        found = Outdatedness(planned(one), Store(tmp_path / "s"))
        assert found.outdated_part().cells == ()


def test_of_two_older_revisions_the_newer_counts(tmp_path: Path, benchmark: Benchmark) -> None:
    predicted_store(tmp_path / "s", revised(benchmark, "evaluators", "knn", -1), right)
    newer = predicted_store(tmp_path / "s", revised(benchmark, "evaluators", "knn", 0), right)
    plan = planned(benchmark)
    found = Outdatedness(plan, Store(tmp_path / "s"))
    older = [found.older(c.evaluation) for c in plan.cells if c.name.evaluator == "knn"]
    wanted = [c.evaluation for c in newer.cells if c.name.evaluator == "knn"]
    assert [record.key for record in older if record] == wanted


def test_numbers_of_two_revisions_have_no_mean(tmp_path: Path, tiny_file: Path) -> None:
    text = tiny_file.read_text(encoding="utf-8").replace("seeds = [0]", "seeds = [0, 1]")
    tiny_file.write_text(text, encoding="utf-8")
    both = load_benchmark(tiny_file, load_registry())
    first = replace(both, cells=tuple(cell for cell in both.cells if cell.seed == 0))
    predicted_store(tmp_path / "s", revised(both, "evaluators", "knn", 0), right)
    plan, store = planned(both), Store(tmp_path / "s")

    def board() -> dict[str, tuple[tuple[int, ...], str]]:
        found = Outdatedness(plan, store)
        rows = build(
            plan,
            found.record,
            store.failure,
            measured_of=reader(store.record, predictions_in(store), Counting()),
            older_of=found.older,
        ).rows
        return {row.names["evaluator"]: (row.seeds, row.outdated) for row in rows}

    assert board() == {"linear": ((0, 1), ""), "knn": ((0, 1), "knn revision 0, now 1")}
    predicted_store(tmp_path / "s", first, right)
    assert board() == {"linear": ((0, 1), ""), "knn": ((0,), "")}


def test_show_marks_them_and_ranks_them_nowhere(
    tmp_path: Path, benchmark: Benchmark, bench: Bench
) -> None:
    predicted_store(tmp_path / "store", revised(benchmark, "methods", "rotnet", 0), right)
    note = "§ outdated: rotnet revision 0, now 1: backbench run --refresh outdated"
    out = bench("show").assert_ok().out
    assert note in " ".join(out.split())
    assert out.count("rotnet §") == 8
    assert "moco-v2 §" not in out
    assert r"rotnet \S{}" in bench("show", "--format", "latex").assert_ok().out
    rows = json.loads(bench("show", "--format", "json").assert_ok().out)["rows"]
    assert {row["method"]: row.get("outdated") for row in rows} == {
        "moco-v2": None,
        "rotnet": "rotnet revision 0, now 1",
    }
    header, *lines = bench("show", "--format", "csv").assert_ok().out.splitlines()
    assert header.endswith(",outdated")
    assert all(("rotnet revision 0" in line) == (",rotnet," in line) for line in lines)
    plan = planned(benchmark)
    board = board_of(load_registry(), plan, Store(tmp_path / "store"))
    ranked = {at for positions in extremes(board).values() for at in positions}
    assert not [at for at in ranked if board.rows[at].outdated]
    # claims and rescoring go by what the plan asks for, never by what is outdated
    text = bench("show", "--asr", "all-images", "--format", "json").assert_ok().out
    assert {r["method"] for r in json.loads(text)["rows"] if r["seeds"]} == {"moco-v2"}


def test_nothing_runs_again_if_nothing_is_outdated(
    tmp_path: Path, benchmark: Benchmark, bench: Bench
) -> None:
    predicted_store(tmp_path / "store", benchmark, right)
    outcome = bench("run", "--refresh", "outdated").assert_ok()
    assert "nothing is outdated" in outcome.err
    assert "0 stages executed" in outcome.err
