"""A folder of images without classes, and what needs their labels."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backbench.benchmark.config import load_benchmark
from backbench.data.dataset_options import UnlabelledFolderOptions
from backbench.data.unlabelled import UnlabelledFolder
from backbench.errors import ConfigError, DataError
from backbench.images import UNKNOWN
from backbench.plugin.registry import load_registry


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    """Return a folder with six images, two of them in a folder below, and a text."""
    root = tmp_path / "pool"
    (root / "more").mkdir(parents=True)
    for index in range(6):
        pixels = np.full((16, 16, 3), 40 * index, np.uint8)
        folder = root / "more" if index % 3 == 0 else root
        Image.fromarray(pixels).save(folder / f"{index}.png")
    (root / "notes.txt").write_text("no image", encoding="utf-8")
    return root


def dataset(root: Path, **options: int) -> UnlabelledFolder:
    return UnlabelledFolder(UnlabelledFolderOptions(root=root, **options))


def test_every_image_is_found_and_has_no_label(pool: Path) -> None:
    found = dataset(pool)
    images = found.load("train")
    assert sorted(images.sources) == sorted(
        ["1.png", "2.png", "4.png", "5.png", "more/0.png", "more/3.png"]
    )
    assert images.labels.tolist() == [UNKNOWN] * 6
    assert len(found.load("val")) == 0
    metadata = found.metadata()
    assert not metadata.labelled
    assert (metadata.train, metadata.val, metadata.size) == (6, 0, (16, 16))
    assert found.listing.notes[0].startswith("1 file or folder is passed over")


def test_the_content_decides_the_fingerprint(pool: Path) -> None:
    def digest(path: str) -> str:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()

    first = dataset(pool).fingerprint(digest)
    assert dataset(pool).fingerprint(digest) == first
    assert dataset(pool, images=3).fingerprint(digest) != first
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(pool / "5.png")
    assert dataset(pool).fingerprint(digest) != first


def test_a_folder_without_an_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        dataset(tmp_path / "nowhere").metadata()
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="there is no image in it"):
        dataset(tmp_path / "empty").metadata()


FILE = """
[datasets.pool]
plugin = "unlabelled-folder"
root = "pool"

[datasets.drawn]
plugin = "embedded"
classes = 4
train_per_class = 16

[attacks.patch]
ATTACK
width = 4

[methods.rotnet]
preset = "small"
batch_size = 2

[[matrix]]
datasets = ["pool"]
methods = ["rotnet"]
attacks = ["none", "patch"]
evaluators = ["knn"]
"""
UNTARGETED = 'mode = "untargeted"\nrate = { of = "dataset", value = 0.5 }'
TARGETED = 'target = "ribbed-mug"\nrate = { of = "count", value = 1 }'
DOWNSTREAM = '[[matrix]]\ndownstreams = ["drawn"]'


@pytest.mark.parametrize(
    ("attack", "matrix", "sentence"),
    [
        (UNTARGETED, DOWNSTREAM, None),
        (UNTARGETED, "[[matrix]]", "datasets.pool: has no labels: name the datasets on which"),
        (TARGETED, DOWNSTREAM, "on dataset 'pool': target: the images of this dataset have no"),
    ],
)
def test_labels_are_asked_for_by_those_that_need_them(
    pool: Path, attack: str, matrix: str, sentence: str | None
) -> None:
    path = pool.parent / "b.toml"
    text = FILE.replace("ATTACK", attack).replace("[[matrix]]", matrix)
    path.write_text(text.replace("batch_size = 2", "batch_size = 4"), encoding="utf-8")
    if sentence is None:
        assert load_benchmark(path, load_registry()).cells
        return
    with pytest.raises(ConfigError) as caught:
        load_benchmark(path, load_registry())
    assert sentence in str(caught.value)
    assert len(caught.value.problems) == 1
