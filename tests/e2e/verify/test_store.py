"""Whatever is changed in a store or a bundle is named."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import load_file, save_file

from backbench.cli.root import cli
from backbench.poison.manifest import pixel_hash
from backbench.results.reader import Counting, reader
from backbench.store.predictions import write_predictions
from backbench.store.store import hash_files
from backbench.verification.bundle import TOML, open_bundle
from tests.conftest import Bench, tiny
from tests.factories import run_all_light
from tests.predictions import stored
from tests.unit.report.html.pages import parsed, words

SMALL = (
    tiny()
    .replace('methods = ["moco-v2", "rotnet"]', 'methods = ["rotnet"]')
    .replace('defenses = ["none", "distill"]', 'defenses = ["none"]')
    .replace("epochs = 2", "epochs = 1")
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which a small matrix has run: a method, an attack, two evaluators."""
    folder = tmp_path_factory.mktemp("finished")
    file = folder / "benchmarks.toml"
    file.write_text(SMALL, encoding="utf-8")
    arguments = ["run", str(file), "--executor", "serial", "--store", str(folder / "store")]
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, done.output
    return folder


@pytest.fixture
def store(finished: Path, tmp_path: Path) -> Path:
    """Return a copy of its store, to be changed."""
    return Path(shutil.copytree(finished / "store", tmp_path / "store"))


@pytest.fixture
def bundle(finished: Path, tmp_path: Path, bench: Bench) -> Path:
    """Return a bundle of it."""
    return export(bench, finished, tmp_path / "theirs.zip")


def export(bench: Bench, finished: Path, out: Path) -> Path:
    file, store = str(finished / "benchmarks.toml"), str(finished / "store")
    bench("export", file, "--store", store, "--out", str(out)).assert_ok()
    return out


def key_of(store: Path, start: str) -> str:
    """Return the key of the one stage whose label starts so."""
    found = []
    for path in (store / "records").glob("*.json"):
        label = json.loads(path.read_text(encoding="utf-8"))["stage"]["label"]
        found += [path.stem] * label.startswith(start)
    (key,) = found
    return key


EVALUATION = "predict linear · rotnet · targeted"
FIT = "fit linear · rotnet · targeted"


def edit(store: Path, key: str, change: Callable[[dict[str, Any]], object]) -> None:
    path = store / "records" / f"{key}.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    change(record)
    path.write_text(json.dumps(record), encoding="utf-8")


def fix_hashes(store: Path, key: str) -> None:
    files = hash_files(store / "artifacts" / key)
    edit(store, key, lambda record: record.update(files=files))
    hashes = {name: said["sha256"] for name, said in files.items()}
    for path in (store / "records").glob("*.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        for role, read in record["stage"]["inputs"].items():
            if read == key:
                record["read"][role] = hashes
        path.write_text(json.dumps(record), encoding="utf-8")


def differing(bench: Bench, *arguments: str) -> list[str]:
    """Run ``verify`` and return what differs."""
    outcome = bench("verify", *arguments)
    found = [line for line in outcome.out.splitlines() if line.startswith("differs: ")]
    assert outcome.code == bool(found), outcome
    assert "Traceback" not in outcome.err
    return found


def only(found: list[str], key: str, *words: str) -> None:
    """Check that one stage differs, and that the sentence says in what."""
    assert len(found) == 1, found
    for word in (key, *words):
        assert word in found[0]


# -- a store -----------------------------------------------------------------------------------


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


# -- a bundle ----------------------------------------------------------------------------------


def rewrite(bundle: Path, change: Callable[[dict[str, bytes]], object]) -> None:
    """Change the content of a bundle, and mend the hashes in its list."""
    from backbench.verification.exporting import as_bytes, described, write_bundle

    with zipfile.ZipFile(bundle) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    change(files)
    header = json.loads(files.pop("bundle.json"))
    header["files"] = {name: described(content) for name, content in files.items()}
    bundle.unlink()
    write_bundle(bundle, {"bundle.json": as_bytes(header), **files})


def test_the_same_store_gives_the_same_bundle(finished: Path, bundle: Path, bench: Bench) -> None:
    again = export(bench, finished, bundle.with_name("again.zip"))
    assert again.read_bytes() == bundle.read_bytes()
    with zipfile.ZipFile(bundle) as archive:
        names = archive.namelist()
        texts = b"".join(archive.read(name) for name in names if name.endswith(".json"))
    for word in ("encoder.", "classifier.", "images", "features.", "train.safetensors"):
        assert not any(word in name for name in names)
    assert str(finished).encode() not in texts
    outcome = bench("export", str(finished / "benchmarks.toml"), "--out", str(bundle))
    assert (outcome.code, "is there already" in outcome.err) == (2, True)


def test_an_untouched_bundle_agrees(
    bundle: Path, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import backbench.plugin.registry

    monkeypatch.setattr(
        backbench.plugin.registry, "load_registry", None
    )  # no plugin is even looked for
    before = sorted(tmp_path.rglob("*"))
    outcome = bench("verify", str(bundle)).assert_ok()
    assert "no difference" in outcome.out
    assert "cannot prove" in outcome.err
    assert sorted(tmp_path.rglob("*")) == before


def test_verifying_needs_no_torch(bundle: Path, finished: Path) -> None:
    run_all_light([["verify", str(bundle)], ["verify"]], cwd=finished)


def test_a_forged_bundle_is_named(finished: Path, bundle: Path, bench: Bench) -> None:
    key = key_of(finished / "store", EVALUATION)
    name = f"records/{key}.json"

    def better(files: dict[str, bytes]) -> None:
        record = json.loads(files[name])
        record["metadata"]["images"] = 7
        files[name] = json.dumps(record).encode()

    def elsewhere(files: dict[str, bytes]) -> None:
        files["environment.json"] = b"[]"

    rewrite(bundle, better)
    only(differing(bench, str(bundle)), key, "images = 7")
    rewrite(bundle, elsewhere)
    assert any("environment.json" in line for line in differing(bench, str(bundle)))
    outcome = bench("import", str(bundle), "--store", "ours")
    assert outcome.code == 1
    assert "not imported" in outcome.err
    assert not Path("ours").exists()


def test_a_matrix_of_a_profile_is_no_part_of_the_rest(bundle: Path, bench: Bench) -> None:
    more = (
        '[profiles.more]\n[[matrix]]\nprofiles = ["more"]\nseeds = [7]\n'
        'datasets = ["drawn"]\nmethods = ["rotnet"]\nevaluators = ["linear"]\n'
    )
    rewrite(bundle, lambda files: files.update({TOML: files[TOML] + more.encode()}))
    bench("verify", str(bundle)).assert_ok()


def test_a_forged_plan_is_named(finished: Path, bundle: Path, bench: Bench) -> None:
    key = key_of(finished / "store", "pretrain rotnet · targeted")

    def change(files: dict[str, bytes]) -> None:
        plan = json.loads(files["plan.json"])
        plan["stages"][key]["plugin"]["options"]["epochs"] = 800
        plan["cells"][0]["seed"] = 3
        files["plan.json"] = json.dumps(plan).encode()

    rewrite(bundle, change)
    found = differing(bench, str(bundle))
    assert any("plan.json" in line for line in found)
    assert any("benchmark.toml" in line and "matrix" in line for line in found)
    assert any(key in line and "its description in the plan" in line for line in found)


def test_a_damaged_bundle_is_named(finished: Path, bundle: Path, bench: Bench) -> None:
    key = key_of(finished / "store", EVALUATION)
    out = io.BytesIO()
    with zipfile.ZipFile(bundle) as archive, zipfile.ZipFile(out, "w") as other:
        for name in archive.namelist():
            if name != f"artifacts/{key}/classes.json":
                other.writestr(name, archive.read(name) + b" " * name.endswith("val.jsonl"))
    bundle.write_bytes(out.getvalue())
    found = differing(bench, str(bundle))
    assert any(key in line and "classes.json is missing" in line for line in found)
    assert any("val.jsonl has another size" in line for line in found)


def test_imported_rows_are_marked_and_apart(finished: Path, bundle: Path, bench: Bench) -> None:
    file, ours = str(finished / "benchmarks.toml"), str(bundle.with_name("ours"))
    shutil.copytree(finished / "store", ours)
    own = json.loads(bench("show", file, "--store", ours, "--format", "json").assert_ok().out)
    before = hash_files(Path(ours, "records"))
    for _ in range(2):  # a second time changes nothing
        bench("import", str(bundle), "--store", ours).assert_ok()
    assert hash_files(Path(ours, "records")) == before
    both = json.loads(bench("show", file, "--store", ours, "--format", "json").assert_ok().out)
    count = len(own["rows"])
    assert both["rows"][:count] == own["rows"]
    assert len(both["rows"]) == 2 * count
    for mine, theirs in zip(both["rows"][:count], both["rows"][count:], strict=True):
        assert mine["origin"] == ""
        assert theirs.pop("origin").startswith("theirs.zip (SHA-256 ")
        assert theirs == {name: value for name, value in mine.items() if name != "origin"}
    text = bench("show", file, "--store", ours).assert_ok().out
    assert "rotnet ‡1" in text
    assert "‡1 imported: theirs.zip (SHA-256 " in text
    key = key_of(Path(ours), EVALUATION)
    with open_bundle(bundle) as opened:  # their intervals are over images too
        record = opened.record(key)
        found = reader(opened.record, opened.predictions, Counting())(key, "")
    assert record is not None
    assert found["asr"].hits.mean() == pytest.approx(found["asr"].value)
    sides = ("evaluator=linear", "evaluator=knn")  # theirs would be a second row on either side
    bench("compare", *sides, file, "--store", ours).assert_ok()
    outcome = bench("show", file, "--store", ours, "--over", "attacks", "--trace", "method=rotnet")
    assert (outcome.code, "leave out --over" in outcome.err) == (2, True)

    (kept,) = Path(ours, "imported").glob("*/*.zip")
    kept.write_bytes(kept.read_bytes() + b"\0")
    outcome = bench("show", file, "--store", ours)
    assert (outcome.code, "changed since it was imported" in outcome.err) == (1, True)


def test_another_store_is_imported_by_way_of_a_bundle(
    finished: Path, bench: Bench, tmp_path: Path
) -> None:
    file, store = str(finished / "benchmarks.toml"), str(finished / "store")
    ours = str(tmp_path / "ours")
    bench("import", store, "--benchmark", file, "--store", ours).assert_ok()
    rows = json.loads(bench("show", file, "--store", ours, "--format", "json").assert_ok().out)
    marked = [row for row in rows["rows"] if row["origin"]]
    assert len(marked) == 4
    assert all(not row["seeds"] for row in rows["rows"] if not row["origin"])
    outcome = bench("import", store, "--benchmark", file, "--store", store)
    assert (outcome.code, "is the store to import into" in outcome.err) == (2, True)


def test_a_report_of_a_store_of_a_bundle_and_a_site_of_several(
    finished: Path, bundle: Path, bench: Bench, tmp_path: Path
) -> None:
    where = (str(finished / "benchmarks.toml"), str(finished / "store"))
    first = ("--filter", "attack=targeted", "--figures", "0")
    done = bench("report", *where, "--out", "a.html", *first).assert_ok()
    assert done.out.startswith("a.html: 2 rows")
    pages = {"a.html": parsed(Path("a.html").read_text(encoding="utf-8"))}
    bench("report", str(bundle), "--out", "b.html", "--figures", "1").assert_ok()
    forged = tmp_path / "forged.zip"
    shutil.copyfile(bundle, forged)
    rewrite(forged, lambda files: files.update({TOML: files[TOML].replace(b"tiny", b"other")}))
    (tmp_path / "none.zip").write_bytes(b"")
    done = bench("report", str(tmp_path), "--site", "out", "--figures", "0").assert_ok()
    assert done.out == "out/index.html: 2 submissions, 1 refused\n"
    assert "none.zip" in done.err
    for path in (Path("b.html"), *Path("out").rglob("*.html")):
        pages[path.name] = parsed(path.read_text(encoding="utf-8"))
    assert {*pages} == {
        "a.html",
        "b.html",
        "index.html",
        "submit.html",
        "theirs.html",
        "forged.html",
    }
    marks = {name: words(pages[name].find(".//h1")) for name in ("theirs.html", "forged.html")}
    assert marks == {"theirs.html": "tiny verified", "forged.html": "tiny not verified"}
    rows = pages["index.html"].findall(".//table[@class='main']/tbody/tr")
    assert len(rows) == 8
    for link in pages["index.html"].findall(".//a"):
        assert Path("out", str(link.get("href")).partition("#")[0]).is_file()
    assert (Path("out/bundles/theirs.zip")).read_bytes() == bundle.read_bytes()
    outcome = bench("report", *map(str, (bundle, forged)))
    assert (outcome.code, "say where with --site" in outcome.err) == (2, True)
    outcome = bench("report", str(bundle), "--site", str(finished))
    assert (outcome.code, "holds something else" in outcome.err) == (2, True)


# -- why ---------------------------------------------------------------------------------------


def test_why(finished: Path, bench: Bench) -> None:
    file, store = str(finished / "benchmarks.toml"), str(finished / "store")
    where = (file, "--store", store)
    outcome = bench("show", *where, "--trace", "evaluator=linear")
    assert outcome.code == 2
    assert "2 rows are left: add attack=none|targeted" in outcome.err
    text = bench("show", *where, "--trace", "evaluator=linear,attack=targeted").assert_ok().out
    lines = Path(file).read_text(encoding="utf-8").splitlines()
    assert f"{file}:{lines.index('[methods.rotnet]') + 1}\n  [methods.rotnet]\n" in text
    key = key_of(Path(store), EVALUATION)
    record = json.loads(Path(store, "records", f"{key}.json").read_text(encoding="utf-8"))
    predictions = f"{store}/artifacts/{key}/predictions.npz"
    assert f"{predictions} (SHA-256 {record['files']['predictions.npz']['sha256']})" in text
    assert "gave accuracy/clean = " in text
    dataset = key_of(Path(store), "dataset")
    content = json.loads(Path(store, "records", f"{dataset}.json").read_text(encoding="utf-8"))
    assert f"data fingerprint {content['stage']['content']}" in text
    assert "epochs = 1" in text
    assert "its control" in text
    assert str(np.__version__) in text
