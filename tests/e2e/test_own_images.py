"""A folder of images of all sizes: streamed, poisoned at native size, evaluated in one size."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backbench.stages.inputs import poisoned_images
from tests.conftest import Bench

FILE = """
[datasets.birds]
plugin = "image-folder"
root = "my birds"
val_size = 32

[attacks.patch-targeted]
plugin = "patch"
target = "heron"
rate = { of = "count", value = 5 }
width = 10

[methods.moco-v2]
preset = "small"
epochs = 1
batch_size = 8
queue = 16
views = { size = 32 }
schedule = { warmup_epochs = 0 }

[evaluators.knn]
k = 3

[[matrix]]
datasets = "birds"
attacks = "patch-targeted"
methods = "moco-v2"
evaluators = "knn"
"""


@pytest.fixture
def birds(tmp_path: Path) -> Path:
    """Make images of two classes, all sizes, several modes; return the folder."""
    rng = np.random.default_rng(0)
    root = tmp_path / "my birds"
    for split, count in (("train", 10), ("val", 4)):
        for name, color in (("heron", (200, 60, 60)), ("wren", (60, 60, 200))):
            folder = root / split / name
            folder.mkdir(parents=True)
            for index in range(count):
                height, width = rng.integers(40, 90, 2)
                noise = rng.integers(-40, 40, (height, width, 3))
                pixels = np.clip(np.array(color) + noise, 0, 255).astype(np.uint8)
                image = Image.fromarray(pixels)
                mode = ("RGB", "L", "CMYK")[index % 3]
                image.convert(mode).save(folder / f"IMG {index:04}.jpg")
    return root


def test_images_of_all_sizes(birds: Path, bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "benchmarks.toml").write_text(FILE, encoding="utf-8")
    bench("run", "--executor", "serial").assert_ok()
    (row,) = json.loads(bench("show", "--format", "json").assert_ok().out)["rows"]
    assert row["seeds"] == [0]
    own = {"asr_lift", "fp_lift", "patch/poison_psnr", "patch/poison_ssim"}
    assert row["controls"].keys() == row["metrics"].keys() - own

    manifest = next((tmp_path / "store" / "artifacts").glob("*/train.jsonl"))
    marks = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
    assert len(marks) == 5
    stored = poisoned_images(manifest.parent)
    for mark in marks:
        assert mark["source"].startswith("train/heron/IMG ")
        poisoned = stored[mark["index"]]
        with Image.open(birds / mark["source"]) as clean:
            assert poisoned.shape[:2] == (clean.height, clean.width)  # stamped at native size
        assert [box[2:] for box in mark["boxes"]] == [[10, 10]]
    lines = (manifest.parent / "val.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 8


def test_an_unreadable_image_is_named_before_training(
    birds: Path, bench: Bench, tmp_path: Path
) -> None:
    for split in ("train", "val"):
        broken = birds / split / "wren" / "IMG 0003.jpg"
        broken.write_bytes(broken.read_bytes()[:200])
    (tmp_path / "benchmarks.toml").write_text(FILE, encoding="utf-8")
    outcome = bench("run", "--executor", "serial")
    assert outcome.code == 2
    for split in ("train", "val"):
        assert f"{split}/wren/IMG 0003.jpg" in outcome.err
    assert "Traceback" not in outcome.err
    assert not list((tmp_path / "store" / "artifacts").glob("*/encoder.safetensors"))


@pytest.mark.slow
def test_what_lies_in_the_current_folder_is_not_imported(birds: Path, tmp_path: Path) -> None:
    """A module of the user's that is called as one of ours, or a plugin's folder, stays outside."""
    (tmp_path / "numpy.py").write_text("raise RuntimeError", encoding="utf-8")
    (tmp_path / "benchmarks.toml").write_text(
        FILE.replace('attacks = "patch-targeted"', 'attacks = "none"'), encoding="utf-8"
    )
    script = Path(sys.executable).with_name("backbench")
    done = subprocess.run(
        [script, "run", "--jobs", "1"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
