"""Encoders that are trained on images without labels, and evaluated on another dataset."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image

from backbench.data.dataset_options import EmbeddedOptions
from backbench.data.embedded import Embedded
from tests.conftest import Bench

FILE = """
[datasets.pool]
plugin = "unlabelled-folder"
root = "pool"

[datasets.drawn]
plugin = "embedded"
classes = 4
train_per_class = 16
val_per_class = 8

[attacks.patch]
mode = "untargeted"
rate = { of = "dataset", value = 0.5 }
width = 8

[attacks.badencoder]
preset = "small"
target = "ribbed-mug"
epochs = 1

[methods.rotnet]
preset = "small"
epochs = 1
batch_size = 16
schedule = { warmup_epochs = 0 }

[evaluators.knn]
preset = "small"
k = 5

[[matrix]]
datasets = ["pool"]
downstreams = ["drawn"]
methods = ["rotnet"]
attacks = ["none", "patch", "badencoder"]
evaluators = ["knn"]
"""


def test_a_pool_without_labels_trains_encoders_for_another_dataset(
    bench: Bench, tmp_path: Path
) -> None:
    (tmp_path / "pool").mkdir()
    images = Embedded(EmbeddedOptions(classes=3, train_per_class=16, val_per_class=1)).load("train")
    for index in range(len(images)):
        Image.fromarray(images.image(index)).save(tmp_path / "pool" / f"{index}.png")
    (tmp_path / "benchmarks.toml").write_text(FILE, encoding="utf-8")
    run = bench("run", "--executor", "serial").assert_ok()
    assert "Downstream" in run.out
    rows = json.loads(bench("show", "--format", "json").assert_ok().out)["rows"]
    assert {row["downstream"] for row in rows} == {"drawn"}
    for row in rows:
        assert row["complete"]
        assert (row["attack"] == "none") == (not row["controls"])
    assert "no difference" in bench("verify").assert_ok().out
    bench("export", "--out", "b.zip").assert_ok()
    assert "no difference" in bench("verify", "b.zip").assert_ok().out
