"""A run with an encoder that collapses, and with one whose crops lose the trigger."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from backbench.store.store import Store
from tests.conftest import Bench, Outcome, backbench, tiny

PLUGIN = """
from backbench.plugin import SSLMethodInfo, hookimpl
from backbench_ssl.method_options import RotNetOptions

@hookimpl
def register_ssl_methods():
    yield SSLMethodInfo(
        name="constant", summary="One feature for all.", target="constant_method:Constant",
        options=RotNetOptions,
    )
"""

METHOD = """
import torch
from backbench_ssl.rotnet import RotNet

class Constant(RotNet):
    def after_step(self, progress):
        for parameter in self.encoder.parameters():
            torch.nn.init.zeros_(parameter)
"""

#: Two rows of a method that is well, two of one that collapses, two of which one is flagged.
METHODS = """
[methods.constant]
plugin = "constant"
epochs = 3
batch_size = 32
backbone = { name = "tiny-resnet", widths = [8, 8], strides = [2, 2] }
schedule = { name = "constant", milestones = [] }

[methods.blind]
plugin = "rotnet"
preset = "small"
epochs = 1
batch_size = 32
schedule = { warmup_epochs = 0 }
views = { scale = [0.01, 0.02] }

[[matrix]]
datasets = "drawn"
attacks = ["none", "targeted"]
methods = ["rotnet", "constant", "blind"]
evaluators = "knn"
"""

WARNING = "the trigger is in both views of 0.0 % of the pairs"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the installed plugin."""
    folder = tmp_path_factory.mktemp("site")
    info = folder / "constant-1.0.dist-info"
    info.mkdir()
    (folder / "constant_plugin.py").write_text(PLUGIN, encoding="utf-8")
    (folder / "constant_method.py").write_text(METHOD, encoding="utf-8")
    metadata = "Metadata-Version: 2.1\nName: constant\nVersion: 1.0\n"
    (info / "METADATA").write_text(metadata, encoding="utf-8")
    entry = "[backbench]\nconstant = constant_plugin\n"
    (info / "entry_points.txt").write_text(entry, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def finished(site: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    """Return a folder in which the benchmark has run, and what the run said."""
    folder = tmp_path_factory.mktemp("finished")
    text = tiny().partition("[defenses")[0] + METHODS
    (folder / "benchmarks.toml").write_text(text, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(site))
        patch.chdir(folder)
        return folder, backbench("run", "--executor", "serial")


@pytest.fixture
def show(
    finished: tuple[Path, Outcome], site: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> Bench:
    """Return a function that shows the finished store."""
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.chdir(finished[0])
    return lambda *arguments: bench("show", *arguments).assert_ok()


def test_what_collapses_stops_and_the_rest_goes_on(
    finished: tuple[Path, Outcome],
) -> None:
    folder, done = finished
    assert done.code == 1
    for attack in ("none", "targeted"):
        said = f"failed: pretrain constant · {attack} · seed 0: the encoder has collapsed: after "
        assert f"{said}epoch 1 of 3 the features of all images are equal" in done.err
    assert "2 failed" in done.err
    assert f"warning: targeted · blind · drawn: {WARNING}" in done.err
    assert f"¶ flagged: pretrain blind · targeted · seed 0: trigger-visibility: {WARNING}" in (
        done.out
    )
    store = Store(folder / "store")
    labels = {record.label for key in store.done() if (record := store.record(key))}
    assert "predict knn · rotnet · targeted · seed 0 · trigger of targeted" in labels
    assert not any("constant" in label for label in labels)


def test_the_flag_is_on_the_row_of_the_encoder_and_on_no_other(show: Bench) -> None:
    lines = show().out.splitlines()
    marked = [line for line in lines if "¶" in line and "flagged:" not in line]
    assert len(marked) == 1
    assert marked[0].split()[:3] == ["blind", "¶", "targeted"]
    assert sum("¶ flagged: " in line for line in lines) == 1
    for style, mark in (("markdown", "blind ¶"), ("latex", r"blind \P{}")):
        text = show("--format", style).out
        assert text.count(mark) == 1
        assert "flagged: pretrain blind" in text

    rows = json.loads(show("--format", "json").out)["rows"]
    flags = {(row["method"], row["attack"]): row.get("flags") for row in rows}
    (flag,) = flags.pop(("blind", "targeted"))
    assert (flag["stage"], flag["name"]) == (
        "pretrain blind · targeted · seed 0",
        "trigger-visibility",
    )
    assert set(flags.values()) == {None}

    table = list(csv.DictReader(io.StringIO(show("--format", "csv").out)))
    assert [row["method"] for row in table if row["flags"]] == ["blind"]
    assert "flags" not in show("--format", "csv", "--filter", "method=rotnet").out
    folded = json.loads(show("--over", "attacks", "--format", "json").out)["rows"]
    assert {(row["method"], row["attack"]) for row in folded if "flags" in row} == {
        ("blind", "1 attack"),
    }


def test_why_tells_the_flag_at_its_stage(show: Bench) -> None:
    text = show("--trace", "method=blind,attack=targeted").out
    before, _, after = text.partition(f"flagged: trigger-visibility: {WARNING}")
    assert before.rstrip().splitlines()[-1].lstrip()[0].isdigit()  # seconds of the training
    assert "pretrain blind · targeted · seed 0" in before
    assert "features blind" in after


def test_a_plan_warns_unless_it_is_asked(
    finished: tuple[Path, Outcome], show: Bench, bench: Bench
) -> None:
    assert show
    plain = bench("plan").assert_ok()
    assert f"warning: targeted · blind · drawn: {WARNING}" in plain.err
    assert plain.err.count("warning") == 1
    asked = bench("plan", "--visibility").assert_ok()
    assert not asked.err
    assert WARNING in asked.out
    assert finished
