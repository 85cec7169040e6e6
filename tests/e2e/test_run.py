"""The whole way on a tiny matrix: run, look, run again, break, go on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from backbench.metrics import Images, outcomes
from backbench.results.reader import Counting, numbers, predictions_in, reader
from backbench.store.store import Store
from tests.conftest import Bench, tiny
from tests.predictions import stored

pytestmark = pytest.mark.slow


def hashes(store: Path) -> dict[str, dict[str, str]]:
    """Return the hashes of all artifacts' files by stage."""
    found = {}
    for path in (store / "records").glob("*.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        found[record["key"]] = {name: file["sha256"] for name, file in record["files"].items()}
    return found


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which the tiny benchmark has run with the local executor."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "benchmarks.toml").write_text(tiny(), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "backbench", "run"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tiny · evaluator linear" in done.stdout
    return folder


def test_every_artifact_is_as_its_record_says(finished: Path) -> None:
    from backbench.store.store import hash_files

    store = Store(finished / "store")
    for key in store.done():
        record = store.record(key)
        assert record is not None
        assert hash_files(store.artifact(key)) == record.files
        assert record.provenance["device"] == "cpu"
    assert not list((finished / "store" / "tmp").iterdir())


def test_a_second_run_executes_nothing(finished: Path, bench: Bench) -> None:
    store = str(finished / "store")
    before = {path: path.stat().st_mtime_ns for path in Path(store).rglob("*.json")}
    outcome = bench("run", str(finished / "benchmarks.toml"), "--store", store).assert_ok()
    assert "0 stages executed" in outcome.err
    after = {path: path.stat().st_mtime_ns for path in (Path(store) / "records").iterdir()}
    assert after.items() <= before.items()


def test_the_leaderboard_has_every_row_beside_its_control(finished: Path, bench: Bench) -> None:
    file, store = str(finished / "benchmarks.toml"), str(finished / "store")
    shown = bench("show", file, "--store", store, "--format", "json").assert_ok()
    rows = json.loads(shown.out)["rows"]
    assert len(rows) == 16
    for row in rows:
        assert row["seeds"] == [0]
        assert 0 <= row["metrics"]["accuracy/clean"]["mean"] <= 1
        if row["attack"] != "none":
            unpaired = {"asr_lift", "fp_lift", "der", "rir"}  # these are of two rows
            poisons = {"patch/poison_psnr", "patch/poison_ssim"}  # a control is trained on none
            assert row["controls"].keys() == row["metrics"].keys() - unpaired - poisons
            fp = row["metrics"]["target_fp/triggered"]["mean"]
            assert row["metrics"]["asr"]["mean"] == pytest.approx(fp / 24)  # 3 classes of 8


def test_metrics_follow_from_stored_predictions(finished: Path) -> None:
    store = Store(finished / "store")
    read = reader(store.record, predictions_in(store), Counting())
    judged = 0
    for key in store.done():
        record = store.record(key)
        assert record is not None
        if record.stage.kind != "predict":
            continue
        found = stored(store.artifact(key))
        again = outcomes(
            Images.of(found["labels"], record.metadata.target),
            found["clean_predictions"],
            found.get("triggered_predictions"),
            record.metadata.target,
        )
        shown = numbers(read(key, ""))
        assert {name: shown[name] for name in again} == numbers(again)
        judged += 1
    assert judged == 24


def test_the_manifest_tells_what_was_changed(finished: Path) -> None:
    from safetensors.numpy import load_file

    from backbench.data.embedded_classes import class_names
    from backbench.poison.manifest import pixel_hash, read_manifest

    store = Store(finished / "store")
    key = next(key for key in store.done() if (store.artifact(key) / "train.jsonl").is_file())
    record = store.record(key)
    assert record is not None
    assert record.metadata.target_name == class_names(4)[0]
    assert record.metadata.poisons == 24
    marks = list(read_manifest(store.artifact(key) / "train.jsonl"))
    clean = load_file(store.artifact(record.stage.inputs["dataset"]) / "train.safetensors")
    changed = load_file(store.artifact(key) / "images.safetensors")
    assert changed["indices"].tolist() == [mark.index for mark in marks]
    for mark, after in zip(marks, changed["pixels"], strict=True):
        before = clean["pixels"][mark.index]
        assert pixel_hash(before) == mark.before
        assert pixel_hash(after) == mark.after
        outside = before != after
        x, y, width, height = mark.box
        outside[y : y + height, x : x + width] = False
        assert not outside.any()
    assert len(list(read_manifest(store.artifact(key) / "val.jsonl"))) == 32


def test_same_seed_same_bytes(finished: Path, bench: Bench, tmp_path: Path) -> None:
    """Another executor, folder, number of threads, precision: the same weights and predictions."""
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    torch.set_num_threads(2)
    torch.set_float32_matmul_precision("medium")
    try:
        file = tmp_path / "half.toml"
        file.write_text(tiny().replace('["moco-v2", "rotnet"]', '["moco-v2"]'), encoding="utf-8")
        outcome = bench("run", str(file), "--executor", "serial", "--store", "again")
        assert torch.get_num_threads() == 2
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(precision)
    outcome.assert_ok()
    found, whole = hashes(tmp_path / "again"), hashes(finished / "store")
    assert len(found) > len(whole) / 2
    assert found == {key: whole[key] for key in found}


def test_plan_says_what_is_cached(finished: Path, bench: Bench) -> None:
    file, store = str(finished / "benchmarks.toml"), str(finished / "store")
    plan = json.loads(bench("plan", file, "--store", store, "--format", "json").assert_ok().out)
    assert len(plan["cells"]) == 16
    assert all(stage["cached"] for stage in plan["stages"])
    more = tiny().replace("seeds = [0]", "seeds = [0, 1]")
    Path("more.toml").write_text(more, encoding="utf-8")
    plan = json.loads(bench("plan", "more.toml", "--store", store, "--format", "json").out)
    cached = [stage["cached"] for stage in plan["stages"]]
    assert (sum(cached), len(cached)) == (66, 131)  # a seed more: all but the dataset is new
    assert bench("plan", "more.toml", "--store", store).assert_ok().out.count("\npretrain") == 1


def test_show_tells_what_a_defense_cost_and_took(finished: Path, bench: Bench) -> None:
    show = ("show", str(finished / "benchmarks.toml"), "--store", str(finished / "store"))
    costs = json.loads(bench(*show, "--detection", "--format", "json").assert_ok().out)["rows"]
    assert {(one["method"], one["attack"]) for one in costs} == {
        (method, attack) for method in ("moco-v2", "rotnet") for attack in ("none", "targeted")
    }
    for one in costs:
        assert one["metrics"]["cost/clean_fraction"]["mean"] == 0.5
        assert one["metrics"]["cost/seconds"]["mean"] > 0
    assert "Clean needed" in bench(*show, "--detection").assert_ok().out
    rows = json.loads(bench(*show, "--format", "json").assert_ok().out)["rows"]
    asr = {
        row["defense"]: row["metrics"]["asr"]["mean"]
        for row in rows
        if (row["method"], row["attack"], row["evaluator"]) == ("moco-v2", "targeted", "knn")
    }
    traded = json.loads(bench(*show, "--trade-off", "--format", "json").assert_ok().out)["rows"]
    (one,) = (
        row["metrics"]
        for row in traded
        if (row["method"], row["attack"], row["evaluator"]) == ("moco-v2", "targeted", "knn")
    )
    assert one["trade/asr_removed"]["mean"] == pytest.approx(asr["none"] - asr["distill"])
    wrong = bench(*show, "--detection", "--sort", "asr")
    assert wrong.code == 2
    assert "leave out --filter and --sort" in wrong.err


def test_a_failed_stage_stops_only_its_cells(
    tiny_file: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    from backbench_ssl.rotnet import RotNet

    text = tiny().replace('["none", "distill"]', '["none"]').replace('["linear", "knn"]', '["knn"]')
    tiny_file.write_text(text, encoding="utf-8")

    def explode(*_: object) -> None:
        raise RuntimeError("the wheel came off")

    monkeypatch.setattr(RotNet, "training_loss", explode)
    outcome = bench("run", str(tiny_file), "--executor", "serial")
    assert outcome.code == 1
    assert "RuntimeError: the wheel came off" in outcome.err
    rows = json.loads(bench("show", "--format", "json").assert_ok().out)["rows"]
    assert {row["method"] for row in rows if row["seeds"]} == {"moco-v2"}
    assert all("the wheel came off" in row["problem"] for row in rows if not row["seeds"])
    assert all(row["controls"] for row in rows if row["seeds"] and row["attack"] != "none")

    monkeypatch.undo()
    monkeypatch.chdir(tiny_file.parent)
    bench("run", str(tiny_file), "--executor", "serial").assert_ok()
    rows = json.loads(bench("show", "--format", "json").assert_ok().out)["rows"]
    assert all(row["seeds"] and not row["problem"] for row in rows)


def test_an_interrupted_run_says_how_to_go_on_and_goes_on(
    finished: Path, bench: Bench, tmp_path: Path
) -> None:
    """What was done stays, and nothing half-done. Runs that are killed are in ``tests/crash``."""
    file = tmp_path / "benchmarks.toml"
    part = '\n[profiles.part]\nmethods = "rotnet"\ndefenses = "none"\nevaluators = "knn"\n'
    file.write_text(tiny() + part, encoding="utf-8")
    command = ("run", "--profile", "part", "--jobs", "1")
    run = subprocess.Popen(
        [sys.executable, "-m", "backbench", *command],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a shell that starts the tests in the background has told them to ignore it
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )
    records = tmp_path / "store" / "records"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and len(list(records.glob("*.json"))) < 3:
        time.sleep(0.02)
    run.send_signal(signal.SIGINT)
    _, err = run.communicate(timeout=60)
    assert run.returncode == 130, err
    assert "the same command goes on from here" in err
    assert "Traceback" not in err
    assert not list((tmp_path / "store" / "tmp").iterdir())

    kept = {path.name: path.stat().st_mtime_ns for path in records.iterdir()}
    assert len(kept) >= 3
    bench(*command, "--executor", "serial").assert_ok()  # a process less, and other tests use local
    after = {path.name: path.stat().st_mtime_ns for path in records.iterdir()}
    assert kept.items() < after.items()
    found, whole = hashes(tmp_path / "store"), hashes(finished / "store")
    assert found == {key: whole[key] for key in found}


def test_one_store_one_run(finished: Path, bench: Bench) -> None:
    store = Store(finished / "store")
    with store.running():
        outcome = bench("run", str(finished / "benchmarks.toml"), "--store", str(store.root))
    assert outcome.code == 2
    assert "another run is using this store" in outcome.err
