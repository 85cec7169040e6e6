"""A store with attacks of every shape, and an image of its dataset that is moved."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import Bench

CLASSES = ("ant", "bee", "cat")

FILE = """
[benchmark]
name = "shapes"
seeds = [0]

[datasets.photos]
plugin = "image-folder"
root = "photos"
val_size = 16
cache = "full"

[attacks.added]
plugin = "corrupt-encoder"
target = "ant"
rate = { of = "count", value = 3 }
width = 4
references = 2

[attacks.by-features]
plugin = "no-label"
rate = { of = "count", value = 3 }
width = 4

[attacks.learned]
plugin = "blto"
target = "ant"
rate = { of = "count", value = 3 }
width = 4
restarts = 1
steps = 1
batch_size = 4

[attacks.learned.surrogate]
epochs = 1
batch_size = 4
dim = 8
hidden = 4
views = { size = 16 }
backbone = { name = "tiny-resnet", widths = [4, 4], strides = [2, 2], stem_width = 4 }
schedule = { name = "constant", milestones = [] }

[attacks.weights]
plugin = "badencoder"
target = "ant"
width = 4
epochs = 1
batch_size = 8
views = { scale = [0.5, 1.0] }

[methods.rotnet]
epochs = 1
batch_size = 8
knn_evaluations = 0
views = { size = 16 }
backbone = { name = "tiny-resnet", widths = [4, 4], strides = [2, 2], stem_width = 4 }
schedule = { name = "constant", milestones = [] }

[evaluators.knn]
k = 1

[[matrix]]
datasets = "photos"
attacks = ["added", "by-features", "learned", "weights"]
methods = "rotnet"
evaluators = "knn"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("shapes")
    (made / "benchmarks.toml").write_text(FILE, encoding="utf-8")
    rng = np.random.default_rng(0)
    for split, count in (("train", 8), ("val", 3)):
        for name in CLASSES:
            (made / "photos" / split / name).mkdir(parents=True)
            for index in range(count):
                pixels = rng.integers(0, 256, (20, 18, 3), np.uint8)
                Image.fromarray(pixels).save(made / "photos" / split / name / f"{index}.png")
    return made


def test_verify_makes_poisons_of_all_shapes_again_and_names_a_moved_image(
    folder: Path, bench: Bench
) -> None:
    file, store = str(folder / "benchmarks.toml"), str(folder / "store")
    bench("run", file, "--executor", "serial", "--store", store).assert_ok()
    records = len(list((folder / "store" / "records").iterdir()))
    outcome = bench("verify", "--store", store).assert_ok()
    assert f"{records} stages checked, no difference\n" in outcome.out
    assert "not checked" not in outcome.out
    photos = folder / "photos"
    moved, place = photos / "train" / "ant" / "3.png", photos / "train" / "bee" / "9.png"
    moved.rename(place)
    assert changed(bench, store) == "train/ant/3.png is gone, train/bee/9.png is new"
    place.rename(moved)
    first, other = (photos / "val" / "cat" / f"{index}.png" for index in (0, 2))
    first.write_bytes(other.read_bytes())
    assert changed(bench, store) == "val/cat/0.png has other pixels"


def changed(bench: Bench, store: str) -> str:
    """Return the images that ``verify`` names in its one difference."""
    outcome = bench("verify", "--store", store)
    (found,) = [line for line in outcome.out.splitlines() if line.startswith("differs: ")]
    assert found.startswith("differs: dataset photos (")
    return found.partition("files were changed: ")[2]
