"""What can be known without torch is known without it; wrong input is one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from backbench.benchmark.config import load_benchmark
from backbench.plugin.registry import load_registry
from tests.conftest import Bench, tiny
from tests.factories import run_all_light
from tests.predictions import predicted_store


def test_torch_is_not_imported(tiny_file: Path) -> None:
    commands = [
        ["--help"],
        ["plugins"],
        ["plugins", "show", "moco-v2"],
        ["--version"],
        ["schema"],
        ["check"],
        ["plan"],
        ["plan", "--format", "json"],
        ["plan", "--visibility"],
    ]
    assert all(run_all_light(commands, cwd=tiny_file.parent))


def test_what_needs_no_image_imports_no_numpy(tiny_file: Path) -> None:
    """The dataset is drawn: of one made of files, headers and hashes are looked at."""
    folder = tiny_file.parent
    benchmark = load_benchmark(tiny_file, load_registry())
    predicted_store(folder / "store", benchmark, lambda _, labels: (labels, labels))
    commands = [["schema"], ["check"], ["plan"], ["plan", "--format", "json"]]
    without = "numpy PIL scipy jinja2 pandas safetensors"
    assert all(run_all_light(commands, cwd=folder, without=without))


def test_check(tiny_file: Path, bench: Bench) -> None:
    assert "16 cells, no problem" in bench("check", str(tiny_file)).assert_ok().out


@pytest.mark.parametrize(
    ("option", "value"), [("--device", "gpu"), ("--executor", "locl"), ("--jobs", "0")]
)
def test_a_wrong_option_writes_nothing(
    tiny_file: Path, bench: Bench, option: str, value: str
) -> None:
    outcome = bench("run", str(tiny_file), option, value)
    assert outcome.code == 2
    assert value in outcome.err
    assert sorted(tiny_file.parent.iterdir()) == [tiny_file]


def test_a_plan_counts_the_stages_of_controls(tiny_file: Path, bench: Bench) -> None:
    plan = json.loads(bench("plan", str(tiny_file), "--format", "json").assert_ok().out)
    counts = {one["key"]: one["cells"] for one in plan["stages"]}
    assert min(counts.values()) >= 1  # every stage is there for some cell
    (poison,) = (one["cells"] for one in plan["stages"] if one["kind"] == "poison")
    assert poison == 8
    # 16 cells of dataset, pretrain, features, fit, predict, half with a repair; half with an attack:
    # poison and triggered features, and all but the poison's pretraining once more as the control
    separately = 16 * 5 + 8 + 8 * 2 + 8 * 7 + 4
    text = " ".join(bench("plan", str(tiny_file)).assert_ok().out.split())
    assert f"{separately} if each cell ran its own" in text


def test_a_plan_leaves_an_empty_folder_fit_for_a_store(
    tmp_path: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backbench.data.fingerprint._SETTLED_NS", 0)
    for split in ("train", "val"):
        for name in ("a", "b"):
            folder = tmp_path / "set" / split / name
            folder.mkdir(parents=True)
            Image.new("RGB", (32, 32)).save(folder / "one.png")
    text = '[datasets.d]\nplugin = "image-folder"\nroot = "set"\n[methods.rotnet]\n'
    text += 'preset = "small"\nbatch_size = 2\n[evaluators.knn]\nk = 1\n'
    text += '[[matrix]]\ndatasets = "d"\nmethods = "rotnet"\nevaluators = "knn"\n'
    (tmp_path / "b.toml").write_text(text, encoding="utf-8")
    (tmp_path / "empty").mkdir()
    bench("plan", "b.toml", "--store", "empty").assert_ok()
    assert list((tmp_path / "empty").iterdir()) == []


def test_a_plan_tells_how_often_triggers_survive(tiny_file: Path, bench: Bench) -> None:
    def both(found: str) -> list[float]:
        rows = json.loads(found)["visibility"]
        assert [(row["attack"], row["method"]) for row in rows] == [
            ("targeted", "moco-v2"),
            ("targeted", "rotnet"),
        ]
        return [row["shares"]["both"] for row in rows]

    plan = ("plan", str(tiny_file), "--format", "json", "--visibility")
    large = both(bench(*plan).assert_ok().out)
    assert 0.5 < large[0] < large[1]  # rotnet's crops are larger
    small = tiny().replace(
        "[methods.moco-v2]", "[methods.moco-v2]\nviews = { scale = [0.01, 0.02] }"
    )
    tiny_file.write_text(small, encoding="utf-8")
    assert both(bench(*plan).assert_ok().out)[0] < 0.01
    text = bench("plan", str(tiny_file), "--visibility").assert_ok().out
    assert "targeted · moco-v2 · drawn: both 0.0" in text
    assert "cannot work; make the trigger larger" in text
    assert "visibility" not in json.loads(bench(*plan[:-1]).assert_ok().out)


def test_a_plan_warns_of_lost_triggers_while_a_training_on_poison_is_left(
    tiny_file: Path, bench: Bench
) -> None:
    views = "[methods.moco-v2]\nviews = { scale = [0.01, 0.02] }"
    tiny_file.write_text(tiny().replace("[methods.moco-v2]", views), encoding="utf-8")
    plan = ("plan", str(tiny_file), "--store", "store")
    assert "cannot work; make the trigger larger" in bench(*plan).assert_ok().err
    benchmark = load_benchmark(tiny_file, load_registry())
    predicted_store(Path("store"), benchmark, lambda _, labels: (labels, labels))
    assert bench(*plan).assert_ok().err == ""


def test_problems_end_in_exit_code_2_and_write_nothing(tmp_path: Path, bench: Bench) -> None:
    Path("bad.toml").write_text(tiny().replace("epochs = 2", "epocs = 2"), encoding="utf-8")
    for command in ("check", "plan", "run", "show"):
        outcome = bench(command, "bad.toml")
        assert outcome.code == 2
        assert "methods.moco-v2.epocs: unknown key: did you mean 'epochs'?" in outcome.err
        assert "Traceback" not in outcome.err
    assert [path.name for path in tmp_path.iterdir()] == ["bad.toml"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["check", "nowhere.toml"], "there is no such benchmark file"),
        (["chek"], "Did you mean 'check'?"),
        (["run", "--executor", "locl"], "no executor is called 'locl': did you mean 'local'?"),
        (["run", "--profile", "quick"], "no profile is called 'quick'"),
        (["show"], "no finished cell of 'tiny' yet: run `backbench run"),
        (["plugins", "show", "mocov2"], "no plugin is called 'mocov2': did you mean 'moco-v2'?"),
        (["plan", "--store", "full"], "not a backbench store"),
    ],
)
def test_one_sentence(tiny_file: Path, bench: Bench, arguments: list[str], sentence: str) -> None:
    Path("full").mkdir()
    Path("full", "something").touch()
    outcome = bench(*arguments)
    assert outcome.code == 2
    assert sentence in outcome.err
    assert "Traceback" not in outcome.err


def test_plugins_lists_all_with_their_origin(bench: Bench) -> None:
    found = json.loads(bench("plugins", "--format", "json").assert_ok().out)
    names = {(one["kind"], one["name"]) for one in found}
    assert names >= {
        ("attack", "patch"),
        ("ssl-method", "moco-v2"),
        ("ssl-method", "byol"),
        ("ssl-method", "jigsaw"),
        ("ssl-method", "rotnet"),
        ("defense", "distill"),
        ("evaluator", "linear"),
        ("evaluator", "knn"),
        ("dataset", "embedded"),
        ("dataset", "image-folder"),
        ("dataset", "file-list"),
        ("executor", "serial"),
        ("executor", "local"),
    }
    assert {one["distribution"] for one in found} >= {"backbench"}


def test_plugins_lists_origin_paper_and_options(bench: Bench) -> None:
    text = bench("plugins").assert_ok().out
    assert "backbench 0.1.0 · revision 1 · Saha et al. 2022" in text
    assert "options: jpeg_quality, mode, target, rate, text, text_size, font, font_sha256" in text


def test_plugins_show_documents_every_option(bench: Bench) -> None:
    text = bench("plugins", "show", "moco-v2").assert_ok().out
    assert "temperature: float = 0.2 (> 0)" in text
    assert "optimizer.lr: float = 0.06 (> 0)" in text  # MoCo's, not any optimizer's
    assert "CVPR 2020" in text or "arXiv" in text


def test_schema_knows_the_plugins_options(bench: Bench) -> None:
    schema = json.loads(bench("schema").assert_ok().out)
    methods = schema["properties"]["methods"]["additionalProperties"]["anyOf"]
    moco = next(one for one in methods if one["title"] == "moco-v2")
    assert moco["properties"]["queue"]["minimum"] == 1
    assert "small" in moco["properties"]["preset"]["enum"]
