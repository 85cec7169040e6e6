"""Whatever is changed in a store is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file, save_file

from backbench.poison.manifest import pixel_hash
from backbench.store.predictions import write_predictions
from tests.conftest import Bench
from tests.e2e.verify.conftest import EVALUATION, FIT, differing, edit, fix_hashes, key_of, only
from tests.predictions import stored


def test_an_untouched_store_agrees(finished: Path, bench: Bench) -> None:
    store, file = str(finished / "store"), str(finished / "benchmarks.toml")
    count = len(list((finished / "store" / "records").iterdir()))
    for arguments in (("--store", store), (file, "--store", store)):
        outcome = bench("verify", *arguments).assert_ok()
        assert f"{count} stages checked, no difference\n" in outcome.out
        assert "not checked" not in outcome.out


@pytest.mark.parametrize(
    ("stage", "file"),
    [
        ("dataset", "train.safetensors"),
        ("dataset", "index.json"),
        ("poison", "images.safetensors"),
        ("poison", "val.jsonl"),
        ("pretrain rotnet · targeted", "encoder-backdoored.safetensors"),
        ("features rotnet · targeted · seed 0 · clean", "features.safetensors"),
        (EVALUATION, "predictions.npz"),
        (FIT, "classifier.safetensors"),
        (EVALUATION, "classes.csv"),
    ],
)
def test_one_byte_flipped(store: Path, bench: Bench, stage: str, file: str) -> None:
    key = key_of(store, stage)
    path = store / "artifacts" / key / file
    content = bytearray(path.read_bytes() or b"\0")
    content[-2] ^= 1
    path.write_bytes(content)
    found = differing(bench, "--store", str(store))
    assert any(key in line and file in line and "SHA-256" in line for line in found)
    if stage != "dataset":  # what was derived from it is no longer
        only(found, key)


def test_no_file_is_left_out(store: Path, bench: Bench) -> None:
    """A bit of the last file of every artifact: every stage with a file is named."""
    changed = set()
    for folder in (store / "artifacts").iterdir():
        files = [path for path in folder.rglob("*") if path.is_file()]
        if not files:  # k-NN stores no classifier
            continue
        changed.add(folder.name)
        path = max(files)
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 0x10
        path.write_bytes(content)
    found = differing(bench, "--store", str(store))
    assert {key for key in changed if any(key in line for line in found)} == changed
    others = {path for path in (store / "records").iterdir() if path.stem not in changed}
    kinds = {json.loads(path.read_text(encoding="utf-8"))["stage"]["kind"] for path in others}
    assert kinds == {"fit"}


def test_a_prediction_edited_with_its_hash(store: Path, bench: Bench) -> None:
    key = key_of(store, EVALUATION)
    path = store / "artifacts" / key / "predictions.npz"
    tensors = stored(path.parent)
    predictions = tensors["triggered_predictions"]
    predictions[5] = (predictions[5] + 1) % 4
    write_predictions(path, tensors)
    fix_hashes(store, key)
    only(differing(bench, "--store", str(store)), key, "image 5", "highest score")

    scores = tensors["triggered_scores"]  # now the scores as well
    scores[5] = 0
    scores[5, predictions[5]] = 1
    write_predictions(path, tensors)
    fix_hashes(store, key)
    only(differing(bench, "--store", str(store)), key, "classes.csv")
    (store / "artifacts" / key / "classes.csv").write_bytes(b"")
    fix_hashes(store, key)
    only(differing(bench, "--store", str(store)), key, "classes.csv")


def test_labels_edited_with_their_hash(store: Path, bench: Bench) -> None:
    key = key_of(store, EVALUATION)
    path = store / "artifacts" / key / "predictions.npz"
    tensors = stored(path.parent)
    tensors["labels"] = tensors["labels"][::-1].copy()
    write_predictions(path, tensors)
    fix_hashes(store, key)
    only(differing(bench, "--store", str(store)), key, "labels", "validation images")


def test_a_poison_moved_by_a_pixel(store: Path, bench: Bench) -> None:
    """Manifest, image and hashes agree with each other, and not with the seed."""
    key = key_of(store, "poison")
    folder = store / "artifacts" / key
    tensors = load_file(folder / "images.safetensors")
    lines = (folder / "train.jsonl").read_text(encoding="utf-8").splitlines()
    mark = json.loads(lines[3])
    x, y, width, height = mark["boxes"][0]
    image = tensors["pixels"][3]
    moved = image.copy()
    step = 1 if x + width < image.shape[1] else -1
    moved[y : y + height, x + step : x + step + width] = image[y : y + height, x : x + width]
    tensors["pixels"][3] = moved
    mark["boxes"][0][0] += step
    mark["after"] = pixel_hash(moved)
    lines[3] = json.dumps(mark)
    save_file(tensors, folder / "images.safetensors")
    (folder / "train.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    fix_hashes(store, key)
    only(differing(bench, "--store", str(store)), key, "train.jsonl: line 4", "derived")


def test_a_poisoned_image_changed_alone(store: Path, bench: Bench) -> None:
    key = key_of(store, "poison")
    path = store / "artifacts" / key / "images.safetensors"
    tensors = load_file(path)
    tensors["pixels"][2, 7, 9, 0] ^= 1
    index = int(tensors["indices"][2])
    save_file(tensors, path)
    fix_hashes(store, key)
    words = (f"poisoned image {index}: 1 pixels", "x = 9, y = 7")
    only(differing(bench, "--store", str(store)), key, *words)


def test_a_validation_mark_changed(store: Path, bench: Bench) -> None:
    key = key_of(store, "poison")
    path = store / "artifacts" / key / "val.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()
    mark = json.loads(lines[0])
    mark["boxes"][0][1] += 1
    path.write_text("\n".join([json.dumps(mark), *lines[1:]]) + "\n", encoding="utf-8")
    fix_hashes(store, key)
    only(differing(bench, "--store", str(store)), key, "val.jsonl: line 1 says boxes")


def test_the_target_changed(store: Path, bench: Bench) -> None:
    key = key_of(store, "poison")
    edit(store, key, lambda record: record["metadata"].update(target=1))
    found = differing(bench, "--store", str(store))
    assert any(key in line and "target = 1" in line for line in found)


def change_option(record: dict[str, Any]) -> None:
    record["stage"]["plugin"]["options"]["epochs"] = 800


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (change_option, "epochs"),
        (lambda record: record["stage"].update(seed=1), "seed"),
        (lambda record: record["stage"]["plugin"].update(name="byol"), "name"),
        (lambda record: record["stage"]["inputs"].pop("dataset"), "inputs"),
    ],
)
def test_what_a_record_describes_changed(
    finished: Path, store: Path, bench: Bench, change: Callable[[dict[str, Any]], None], word: str
) -> None:
    key = key_of(store, "pretrain rotnet · targeted")
    edit(store, key, change)
    only(differing(bench, "--store", str(store)), key)
    file = str(finished / "benchmarks.toml")
    only(differing(bench, file, "--store", str(store)), key, word)


def test_missing_and_surplus(store: Path, bench: Bench) -> None:
    key = key_of(store, EVALUATION)
    (store / "artifacts" / key / "classes.csv").unlink()
    only(differing(bench, "--store", str(store)), key, "classes.csv is missing")
    other = key_of(store, "pretrain rotnet · none")
    (store / "artifacts" / other / "notes.txt").touch()
    found = differing(bench, "--store", str(store))
    only([line for line in found if other in line], other, "notes.txt is not in its record")
    assert len(found) == 2
    (store / "records" / f"{other}.json").write_text("{}", encoding="utf-8")
    found = differing(bench, "--store", str(store))
    assert any(f"records/{other}.json" in line for line in found)
    assert any("has no record" in line or "cannot be read as a record" in line for line in found)


def test_a_record_under_another_key(store: Path, bench: Bench) -> None:
    key = key_of(store, EVALUATION)
    (store / "records" / f"{key}.json").rename(store / "records" / f"{'0' * 32}.json")
    outcome = bench("verify", "--store", str(store))
    assert outcome.code == 1
    assert f"differs: records/{'0' * 32}.json: is the record of {key}" in outcome.out
    assert f"not checked: artifacts/{key}: no record describes it" in outcome.out


def test_the_rest_of_a_damaged_store_is_shown_and_run_makes_it_whole(
    finished: Path, store: Path, bench: Bench
) -> None:
    key, other = key_of(store, EVALUATION), key_of(store, "predict knn · rotnet · targeted")
    (store / "records" / f"{key}.json").write_text('{"schema": 2, "key"', encoding="utf-8")
    predictions = store / "artifacts" / other / "predictions.npz"
    predictions.write_bytes(predictions.read_bytes()[:-100])
    file = str(finished / "benchmarks.toml")

    shown = bench("show", file, "--store", str(store)).assert_ok()
    assert shown.err.count("failed: ") == 2
    assert f"{key}.json: cannot be read as a record" in shown.err
    assert f"`backbench run --redo {other}` makes them again" in shown.err
    planned = bench("plan", file, "--store", str(store)).assert_ok()
    assert f"{key}.json: cannot be read as a record" in planned.out.replace("\n", "")
    sides = ("evaluator=knn", "evaluator=linear")
    assert f"{key}.json: cannot" in bench("compare", *sides, file, "--store", str(store)).err
    out = str(store.with_name("part.zip"))
    exported = bench("export", file, "--store", str(store), "--out", out)
    assert (exported.code, exported.err.count("left out")) == (1, 2)
    assert "2 of 18 stages are not in the bundle" in exported.err
    assert differing(bench, out) == []

    done = bench("run", file, "--store", str(store), "--executor", "serial").assert_ok()
    assert done.err.count("warning: ") == 2
    assert "2 stages executed, 16 were in the store" in done.err
    assert differing(bench, "--store", str(store)) == []


def test_redo_makes_a_stage_again_with_all_that_depend_on_it(
    finished: Path, store: Path, bench: Bench
) -> None:
    where = (str(finished / "benchmarks.toml"), "--store", str(store), "--executor", "serial")
    records = {path.name: path.read_bytes() for path in (store / "records").iterdir()}
    refused = bench("run", *where, "--redo", "knm")
    assert (refused.code, "'knm': did you mean 'knn'?" in refused.err) == (2, True)
    assert {path.name: path.read_bytes() for path in (store / "records").iterdir()} == records
    fit = "fit knn · rotnet · targeted · seed 0"
    done = bench("run", *where, "--redo", fit).assert_ok()
    assert "2 stages executed, 16 were in the store" in done.err
    assert differing(bench, "--store", str(store)) == []


def test_no_store(bench: Bench) -> None:
    outcome = bench("verify", "--store", "nowhere")
    assert (outcome.code, "there is no store" in outcome.err) == (2, True)
    outcome = bench("verify", "nowhere.zip")
    assert (outcome.code, "there is no such bundle" in outcome.err) == (2, True)
