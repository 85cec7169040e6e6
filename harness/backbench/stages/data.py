"""How later stages read what the dataset and poison stages have written."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import load_file

from backbench.images import ArrayImages, ImageSet, Overlay, Pixels, Subset
from backbench.plugin import Attack, DatasetFacts, Split
from backbench.poisoning import TriggeredImages, read_manifest
from backbench.stages.task import Task

INDEX = "index.json"


def facts_of(task: Task) -> DatasetFacts:
    """Return the facts of the task's data set, as its stage found them."""
    facts = task.record("dataset").facts["dataset"]
    return DatasetFacts(
        classes=tuple(facts["classes"]),
        train=facts["train"],
        val=facts["val"],
        size=tuple(facts["size"]) if facts["size"] else None,
        train_per_class=tuple(facts["train_per_class"]),
    )


def clean_images(task: Task, split: Split) -> ImageSet:
    """Return a split of the task's data set, without poison."""
    folder = task.input("dataset")
    if (folder / f"{split}.safetensors").is_file():
        return _array_images(folder, split)
    implementation, options, _ = task.plugin_of("dataset")
    images: ImageSet = implementation(options).load(split, verify=False)
    return images


def stored_labels(folder: Path, split: Split) -> NDArray[np.int64]:
    """Return the class index of every picture of a split, as a data set's stage wrote them down.

    Args:
        folder: The data set's artifact.
        split: Which split.

    Returns:
        (N,).
    """
    index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    return np.asarray(index[split]["labels"], dtype=np.int64)


def training_images(task: Task) -> ImageSet:
    """Return the task's training set: with poison if it has any, without what was dropped."""
    images = clean_images(task, "train")
    if task.has("poison"):
        images = Overlay(images, poisoned_pictures(task.input("poison")))
    if task.has("sanitize"):
        dropped = load_file(task.input("sanitize") / "scores.safetensors")["scores"] > 0
        images = Subset(images, np.flatnonzero(~dropped))
    return images


def triggered_images(task: Task) -> TriggeredImages:
    """Return the validation split with the trigger of the task's poison on every picture."""
    implementation, options, _ = task.plugin_of("poison")
    attack: Attack = implementation(options, facts_of(task))
    marks = list(read_manifest(task.input("poison") / "val.jsonl"))
    return TriggeredImages(clean_images(task, "val"), attack, marks)


@functools.lru_cache(maxsize=4)
def _array_images(folder: Path, split: Split) -> ArrayImages:
    index = json.loads((folder / INDEX).read_text(encoding="utf-8"))[split]
    tensors = load_file(folder / f"{split}.safetensors")
    return ArrayImages(tensors["pixels"], tensors["labels"], tuple(index["sources"]))


def poisoned_pictures(folder: Path) -> Mapping[int, Pixels]:
    """Return the changed training pictures of a poison's artifact, by index."""
    packed = folder / "images.safetensors"
    if packed.is_file():
        tensors = load_file(packed)
        return dict(zip(tensors["indices"].tolist(), tensors["pixels"], strict=True))
    return _PNGFolder(folder / "images")


def poisoned_indices(folder: Path) -> list[int]:
    """Return which training pictures a poison's artifact holds, sorted, without reading them."""
    packed = folder / "images.safetensors"
    if packed.is_file():
        with safe_open(packed, "np") as tensors:
            return sorted(tensors.get_tensor("indices").tolist())
    return list(_PNGFolder(folder / "images"))


def poisoned_sizes(folder: Path, indices: Sequence[int]) -> NDArray[np.int64]:
    """Return height and width of some of a poison's training pictures, without decoding them.

    Args:
        folder: The poison's artifact.
        indices: Which of them, N.

    Returns:
        (N, 2).
    """
    packed = folder / "images.safetensors"
    if packed.is_file():
        with safe_open(packed, "np") as tensors:
            shape = tensors.get_slice("pixels").get_shape()
        return np.tile(np.array(shape[1:3], dtype=np.int64), (len(indices), 1))
    sizes = np.empty((len(indices), 2), dtype=np.int64)
    for place, index in enumerate(indices):
        with Image.open(folder / "images" / png_name(index)) as picture:
            sizes[place] = picture.height, picture.width
    return sizes


class _PNGFolder(Mapping[int, Pixels]):
    """Pictures of differing sizes, read when they are asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._indices = sorted(int(path.stem) for path in folder.glob("*.png"))
        self._known = frozenset(self._indices)

    def __getitem__(self, index: int) -> Pixels:
        if index not in self._known:
            raise KeyError(index)
        with Image.open(self._folder / png_name(index)) as picture:
            return np.asarray(picture.convert("RGB"))

    def __iter__(self) -> Iterator[int]:
        return iter(self._indices)

    def __len__(self) -> int:
        return len(self._indices)


def png_name(index: int) -> str:
    """Return the file name of a poisoned picture."""
    return f"{index:08d}.png"
