"""A verdict on an encoder: what a defense may give, and what becomes of it."""

from __future__ import annotations

import json
import re
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save
from tests.conftest import Bench, tiny

from backbench.benchmark.config import load_benchmark
from backbench.benchmark.planning import make_plan
from backbench.errors import ResultError
from backbench.model import Plan, StageKind
from backbench.plugin import Defense, DefenseInfo, Verdict
from backbench.plugin.registry import load_registry
from backbench.stages.verdicts import (
    checked_verdict,
    evidence_problem,
    read_verdict,
    write_verdict,
)
from backbench.store.metadata import InspectRecord
from backbench.store.store import Store
from backbench.testing import DefenseContract
from backbench.testing.hygiene import run_twice
from backbench.verification.bundle import plan_as_json, plan_from_json
from backbench.verification.plan_check import plan_differences

INSPECTED = (
    tiny()
    .replace('methods = ["moco-v2", "rotnet"]', 'methods = ["rotnet"]')
    .replace('defenses = ["none", "distill"]', 'defenses = ["decree"]')
    .replace("epochs = 2\nbatch_size = 32", "epochs = 1\nbatch_size = 32")
) + "[defenses.decree]\nclean_fraction = 0.25\nepochs = 2\n"


def test_a_run_inspects_the_encoder_of_the_cell_and_that_of_its_control(bench: Bench) -> None:
    Path("b.toml").write_text(INSPECTED, encoding="utf-8")
    bench("run", "b.toml", "--executor", "serial", "--store", "s").assert_ok()
    store = Store(Path("s"))
    records = [record for key in store.done() if (record := store.record(key))]
    made = [one for one in records if one.stage.kind is StageKind.INSPECT]
    assert len(made) == 2  # the clean encoder, which is the control's, and the poisoned one
    for one in made:
        verdict, said = read_verdict(store.artifact(one.key)), one.of(InspectRecord)
        assert (said.score, said.numbers) == (verdict.score, verdict.numbers)
        assert said.clean_fraction == 0.25
        assert verdict.evidence["mask"].shape == (32, 32)
    bench("verify", "b.toml", "--store", "s").assert_ok()
    row = "method=rotnet,attack=targeted,evaluator=knn"
    traced = bench("show", "b.toml", "--store", "s", "--trace", row).assert_ok().out
    assert traced.count("inspect decree · rotnet") == 2
    assert "gave epochs = 2, mask_l1 = " in traced
    table = bench("show", "b.toml", "--store", "s", "--verdicts").assert_ok().out
    assert "tiny · verdicts" in table
    assert "AUROC" in table
    for style in ("json", "csv", "markdown", "latex", "html"):
        bench("show", "b.toml", "--store", "s", "--verdicts", "--format", style).assert_ok()
    shown = bench("show", "b.toml", "--store", "s", "--each-verdict", "--format", "json")
    rows = json.loads(shown.assert_ok().out)["rows"]
    assert [row["attack"] for row in rows] == ["targeted", "none"]
    assert {one["metrics"]["verdict/score"]["mean"] for one in rows} == {
        one.of(InspectRecord).score for one in made
    }
    assert bench("show", "b.toml", "--store", "s", "--verdicts", "--sort", "asr").code == 2
    assert re.search(r"^inspect +2 +2 ", bench("plan", "b.toml", "--store", "s").out, re.MULTILINE)
    bench("export", "b.toml", "--store", "s", "--out", "bundle.zip").assert_ok()
    bench("verify", "bundle.zip").assert_ok()
    for view in ("--verdicts", "--each-verdict", "--threats"):
        stored = bench("show", "b.toml", "--store", "s", view, "--format=json").assert_ok().out
        assert bench("show", "bundle.zip", view, "--format=json").assert_ok().out == stored
    assert "rotnet" in bench("show", "bundle.zip").assert_ok().out
    assert "needs the store" in bench("show", "bundle.zip", "--trace", row).err
    assert "leave that out" in bench("show", "bundle.zip", "--asr", "all-images").err
    with zipfile.ZipFile("bundle.zip") as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    (evidence, _) = (name for name in files if name.endswith("/evidence.safetensors"))
    files[evidence] = files[evidence][:-1] + bytes([files[evidence][-1] ^ 1])
    with zipfile.ZipFile("moved.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    moved = bench("verify", "moved.zip")
    assert moved.code == 1
    assert "evidence.safetensors has another size or SHA-256 than its record says" in moved.out
    path = store.root / "records" / f"{made[0].key}.json"
    content = json.loads(path.read_text())
    content["metadata"]["score"] += 1
    path.write_text(json.dumps(content))
    changed = bench("verify", "b.toml", "--store", "s")
    assert changed.code == 1
    assert "its record says score = " in changed.out + changed.err


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (0.5, "gave a float, not a Verdict"),
        (Verdict(float("nan")), "gave score = nan, which is not finite"),
        (Verdict("high"), "gave score = 'high', which is no number"),
        (Verdict("0.5"), "gave score = '0.5', which is no number"),
        (Verdict(b"0.5"), "gave score = b'0.5', which is no number"),
        (Verdict(0.5, numbers={"\x1b[31m": 1}), r"numbers of the name '\\x1b\[31m'"),
        (Verdict(0.5, {"__metadata__": np.eye(3)}), "and not '__metadata__'"),
        (Verdict(0.5, {"mask": np.array([1e300])}), "gave evidence 'mask' that is not finite"),
        (Verdict(0.5, {"mask": [[0, 1], [1]]}), "'mask' of which no array can be made"),
        (Verdict(0.5, {"mask": np.eye(2) * 1j}), "of type complex128: it must be real numbers"),
        (Verdict(0.5, numbers={"size": np.inf}), "gave size = inf, which is not finite"),
        (Verdict(0.5, numbers=[1]), "gave as numbers a list: it must be by name"),
        (Verdict(0.5, numbers={"score": 1}), "numbers of the name 'score'"),
        (Verdict(0.5, {"mask": np.array([np.nan])}), "gave evidence 'mask' that is not finite"),
        (Verdict(0.5, {"mask": np.arange(3)}), "an array of int64: it must be float or uint8"),
        (Verdict(0.5, {"mask": "round"}), "'mask' of type <U5: it must be real numbers"),
        (Verdict(0.5, {"all": np.zeros((2**24 + 1,))}), "evidence of 67,108,868 bytes, and 67,"),
    ],
)
def test_what_is_no_verdict_is_refused(given: Any, sentence: str) -> None:
    with pytest.raises(ResultError, match=sentence):
        checked_verdict(given, "the defense")


def test_a_stored_verdict_is_read_back_and_its_arrays_are_read_only(tmp_path: Path) -> None:
    evidence = {
        "mask": np.eye(3),
        "seen": np.array([True, False]),
        "levels": np.arange(3, dtype="u1"),
    }
    checked = checked_verdict(Verdict(np.float32(0.1), evidence, {"size": 3}), "the defense")
    write_verdict(tmp_path, checked)
    found = read_verdict(tmp_path)
    assert found.score == float(np.float32(0.1))
    assert found.numbers == {"size": 3.0}
    kinds = {name: array.dtype for name, array in found.evidence.items()}
    assert kinds == {"mask": np.float32, "seen": np.uint8, "levels": np.uint8}
    for name, array in evidence.items():
        np.testing.assert_array_equal(found.evidence[name], array)
        assert not found.evidence[name].flags.writeable
    write_verdict(tmp_path / ".", Verdict(-1.0))
    assert read_verdict(tmp_path).score == -1.0


class Both(Defense):
    """Judges an encoder, and keeps the verdict that its repair is given."""

    seen: Verdict | None = None

    def inspect(self, encoder, context):
        return Verdict(0.25, {"mask": np.ones((2, 2))}, {"size": 4.0})

    def repair(self, encoder, context):
        type(self).seen = context.verdict
        return type(encoder)(encoder.spec)


class Kit(DefenseContract):
    __test__ = False
    info = DefenseInfo(name="both", summary="B.", target="a:A", acts_on=("model", "encoder"))

    def settings(self) -> None:
        return None

    def implementation(self) -> type[Defense]:
        return Both


def test_a_repair_gets_the_verdict_of_its_own_inspection(tmp_path: Path) -> None:
    kit = Kit()
    run_twice(tmp_path, kit, StageKind.REPAIR, encoder=kit.encoder())
    assert Both.seen is not None
    assert (Both.seen.score, Both.seen.numbers) == (0.25, {"size": 4.0})
    np.testing.assert_array_equal(Both.seen.evidence["mask"], np.ones((2, 2)))


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """Return the plan of a benchmark with inspections."""
    path = tmp_path / "b.toml"
    path.write_text(INSPECTED, encoding="utf-8")
    return make_plan(load_benchmark(path, load_registry()), {"drawn": "content"})


def test_a_bundle_keeps_the_inspections_of_its_cells(plan: Plan) -> None:
    again = plan_from_json(json.loads(json.dumps(plan_as_json(plan))))
    assert [cell.detections for cell in again.cells] == [cell.detections for cell in plan.cells]
    assert list(plan_differences(again)) == []


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        (lambda cell: cell.evaluation, "inspects no encoder"),
        (lambda cell: cell.detections[0].control, "an inspection is of another encoder"),
    ],
)
def test_an_inspection_of_another_stage_is_named(plan: Plan, key: Any, sentence: str) -> None:
    cell = next(cell for cell in plan.cells if cell.control)
    (detection,) = cell.detections
    other = replace(cell, detections=(detection._replace(key=key(cell)),))
    found = " ".join(plan_differences(replace(plan, cells=(other,))))
    assert sentence in found


def test_a_missing_inspection_of_the_control_is_named(plan: Plan) -> None:
    cell = next(cell for cell in plan.cells if cell.control)
    (detection,) = cell.detections
    other = replace(cell, detections=(detection._replace(control=None),))
    (found,) = plan_differences(replace(plan, cells=(other,)))
    assert "an inspection, or its control, is missing" in found


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"mask": np.zeros(2, np.float32)}, None),
        ({"mask": np.zeros(2, np.int64)}, "has an array 'mask' of int64"),
        (
            {"m\x1b[2J": np.full(2, np.inf, np.float32)},
            r"has an array 'm\\x1b\[2J' that is not fin",
        ),
    ],
)
def test_evidence_of_a_stranger_is_what_we_write(arrays: Any, sentence: str | None) -> None:
    found = evidence_problem(save(arrays))
    assert found is None if sentence is None else re.search(sentence, str(found))
    assert "cannot be read" in str(evidence_problem(b"no such file"))
