"""Single stages as processes: by hand, by GNU make, and as a whole run makes them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import backbench as bb
from backbench.errors import ExitCode
from backbench.store.store import Store
from tests.conftest import Bench

SMALL = """
[benchmark]
name = "small $ # matrix"

[datasets.drawn]
plugin = "embedded"
train_per_class = 12
val_per_class = 4
classes = 2
size = 16

[attacks.targeted]
plugin = "patch"
target = "brick-house"
rate = { of = "target_class", value = 1.0 }
width = 5

[methods.rotnet]
preset = "small"
epochs = 1
batch_size = 12
schedule = { warmup_epochs = 0 }
backbone = { widths = [4, 8], strides = [1, 2] }

[evaluators.knn]
k = 3

[[matrix]]
datasets = ["drawn"]
attacks = ["targeted"]
methods = ["rotnet"]
evaluators = ["knn"]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "it's $a #b.toml"
    path.write_text(SMALL, encoding="utf-8")
    return path


def planned(bench: Bench, file: Path, store: str = "store") -> list[dict[str, object]]:
    out = bench("plan", str(file), "--store", store, "--format", "json").assert_ok().out
    return json.loads(out)["stages"]


def predictions(store: Path) -> dict[str, bytes]:
    """Return the bytes of all predictions, by key."""
    return {
        path.parent.name: path.read_bytes() for path in store.glob("artifacts/*/predictions.npz")
    }


def test_a_stage_waits_for_its_inputs_and_is_made_once(file: Path, bench: Bench) -> None:
    stages = planned(bench, file)
    dataset, poison = (next(s for s in stages if s["kind"] == k) for k in ("dataset", "poison"))
    early = bench("run", str(file), "--stage", poison["key"])
    assert early.code == ExitCode.NOT_READY
    assert f"its input {dataset['key']} (dataset drawn) is not in the store" in early.err
    first = bench("run", str(file), "--stage", dataset["key"][:8]).assert_ok()
    assert "1 stages executed, 0 were in the store" in first.err
    assert first.out == ""
    again = bench("run", str(file), "--stage", "dataset drawn").assert_ok()
    assert "0 stages executed, 1 were in the store" in again.err
    both = ("--stage", poison["key"], "--stage", dataset["key"])
    assert "1 stages executed, 1 were in the store" in bench("run", str(file), *both).err
    done = [one["key"] for one in planned(bench, file) if one["cached"]]
    assert done == [dataset["key"], poison["key"]]
    assert not list(Path("store", "locks").iterdir())


def test_a_stage_that_another_process_makes_is_left_to_it(file: Path, bench: Bench) -> None:
    key = planned(bench, file)[0]["key"]
    store = Store(Path("store"))
    store.prepare()
    with store.making(key), store.writing(key) as folder:
        busy = bench("run", str(file), "--stage", key)
        assert "0 removed" in bench("store", "gc").assert_ok().out
        assert folder.exists()
    assert store.being_made() == set()
    assert busy.code == ExitCode.NOT_READY
    assert f"another process is making the stage {key}: try later" in busy.err
    bench("run", str(file), "--stage", key).assert_ok()


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (
            ("--stage", "xyz"),
            2,
            "--stage: no stage of this benchmark has the key or the name 'xyz'",
        ),
        (("--stage", ""), 2, "--stage: no stage of this benchmark has the key or the name ''"),
        (("--stage", "dataset drawn", "--redo", "knn"), 2, "single stages: leave out --redo"),
        (("--stage", "dataset drawn", "--observe", "x"), 2, "leave out --observe"),
        (("--stage", "dataset drawn", "--executor", "locl"), 2, "no executor is called 'locl'"),
    ],
)
def test_wrong_requests(file: Path, bench: Bench, arguments, code, sentence) -> None:
    done = bench("run", str(file), *arguments)
    assert (done.code, sentence in done.err) == (code, True), done.err


def test_a_stage_that_fails_has_the_code_and_the_reason_of_a_run(file: Path, bench: Bench) -> None:
    """A later file has another key, and its images are gone."""
    text = SMALL.replace('plugin = "embedded"', 'plugin = "image-folder"\nroot = "set"')
    for line in ("train_per_class = 12", "val_per_class = 4", "classes = 2", "size = 16"):
        text = text.replace(f"{line}\n", "")
    from PIL import Image

    for split in ("train", "val"):
        for name in ("brick-house", "b"):
            folder = file.parent / "set" / split / name
            folder.mkdir(parents=True)
            for number in range(8):
                Image.new("RGB", (32, 32)).save(folder / f"{number}.png")
    file.write_text(text, encoding="utf-8")
    key = planned(bench, file)[0]["key"]
    damaged = file.parent / "set" / "train" / "b" / "0.png"
    content = damaged.read_bytes()
    damaged.write_bytes(content[: len(content) // 2])
    key = planned(bench, file)[0]["key"]
    failed = bench("run", str(file), "--stage", key)
    assert failed.code == 2
    assert "0.png" in failed.err
    assert Store(Path("store")).failure(key) is not None


# -- one matrix, whoever runs it ----------------------------------------------------------------

#: No attack: five stages, from the dataset to the predictions.
PLAIN = (
    SMALL.replace('["targeted"]', '["none"]')
    + """
[executors.slurm]
cluster = "local"
poll_s = 0.1
"""
)


#: What is there already, as each process of a stage takes seconds to import torch.
THERE = {"local": set(), "make": set(), "slurm": {"dataset", "features", "fit"}}


def copied(serial: Path, store: Path, kinds: set[str]) -> None:
    """Make a store of the stages of some kinds."""
    opened, made = Store(serial), Store(store)
    made.prepare()
    for key in opened.done():
        record = opened.record(key)
        assert record is not None
        if record.stage.kind in kinds:
            shutil.copytree(opened.artifact(key), made.artifact(key))
            shutil.copy2(serial / "records" / f"{key}.json", store / "records")
    assert len(made.done()) == len(kinds)


def by_make(file: Path, store: str, bench: Bench) -> None:
    """Two processes at most write into a store whose name make and the shell would obey."""
    text = bench("plan", str(file), "--store", store, "--format", "make").assert_ok().out
    Path("stages.mk").write_text(text, encoding="utf-8")
    make = ["make", "-j2", "-f", "stages.mk", f"BACKBENCH={sys.executable} -m backbench"]
    done = subprocess.run(make, capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == 0, done.stdout + done.stderr
    again = subprocess.run(make, capture_output=True, text=True, check=True)
    assert "Nothing to be done for 'all'" in again.stdout


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the store of a run in this process."""
    folder = tmp_path_factory.mktemp("serial")
    (folder / "b.toml").write_text(PLAIN, encoding="utf-8")
    run = bb.load(folder / "b.toml").run(store=folder / "store", executor="serial", device="cpu")
    assert not run.outcome.failed
    return folder / "store"


@pytest.mark.slow
@pytest.mark.parametrize("how", ["local", "slurm", "make"])
def test_the_bytes_are_those_of_a_serial_run(
    how: str, serial: Path, file: Path, bench: Bench
) -> None:
    file.write_text(PLAIN, encoding="utf-8")
    store = "st $(x)#1:2=3 &4"
    copied(serial, Path(store), THERE[how])
    if how == "make":
        if shutil.which("make") is None:
            pytest.skip("GNU make is not installed")
        by_make(file, store, bench)
    else:
        if how == "slurm":
            pytest.importorskip("submitit", reason="the extra slurm is not installed")
        run = bench("run", str(file), "--store", store, "--executor", how).assert_ok()
        there = len(THERE[how])
        assert f"{5 - there} stages executed, {there} were in the store (" in run.err
    made, expected = (Store(one) for one in (Path(store), serial))
    assert made.done() == expected.done()
    for key in made.done():
        mine, other = made.record(key), expected.record(key)
        assert mine is not None
        assert other is not None
        assert mine.files == other.files, mine.label
    assert predictions(Path(store)) == predictions(serial)
    assert len(predictions(serial)) == 1
    assert not bench("verify", str(file), "--store", store).assert_ok().err
