"""Whatever is changed in a bundle is named, and what is imported is marked."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from backbench.results.reader import Counting, reader
from backbench.store.store import hash_files
from backbench.verification.bundle import TOML, open_bundle
from tests.conftest import Bench
from tests.e2e.verify.conftest import EVALUATION, differing, export, key_of, only
from tests.factories import run_all_light
from tests.unit.report.html.pages import parsed, words


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
    # no plugin is even looked for; the command is imported first, or it would keep the None
    for place in ("backbench.cli.verify", "backbench.plugin.registry"):
        monkeypatch.setattr(f"{place}.load_registry", None)
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
