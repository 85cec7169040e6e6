"""How later stages read what the dataset and poison stages have written."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from backbench.data.files import FileImages
from backbench.data.listing import FileDataset
from backbench.data.packed import MappedArray, MappedImages, open_changed_images, open_images
from backbench.data.preprocess import Fit
from backbench.images import ImageSet, Overlay, Pixels, Subset
from backbench.plugin import Attack, Dataset, DatasetMetadata, Split
from backbench.poison.poisoning import Poison, TriggeredImages, read_manifest
from backbench.stages.task import Task
from backbench.store.index import Names
from backbench.store.metadata import DatasetRecord

INDEX = "index.json"

#: The changed training images in a poison's artifact.
POISONED = "images.safetensors"


def metadata_of(task: Task) -> DatasetMetadata:
    """Return the metadata of the task's dataset, as its stage found them."""
    return task.record("dataset").of(DatasetRecord).dataset


def decoded_name(split: Split) -> str:
    """Return the file name of a split's decoded images, in the dataset's artifact."""
    return f"{split}.safetensors"


def clean_images(task: Task, split: Split) -> ImageSet:
    """Return a split of the task's dataset, without poison.

    Raises:
        StoreError: If it is kept decoded, and damaged.
        DataError: If it is not, and its files cannot be found.
    """
    folder = task.input("dataset")
    if (folder / decoded_name(split)).is_file():
        return _decoded(folder, split)
    images: ImageSet = _dataset(task).load(split, verify=False)
    if isinstance(images, FileImages):  # the stage has read them all, this process only a few
        images.size = task.record("dataset").of(DatasetRecord).sizes[split]
    return images


def stored_labels(folder: Path, split: Split) -> NDArray[np.int64]:
    """Return the class index of every image of a split, (N,), from a dataset's artifact."""
    index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    return np.asarray(index[split]["labels"], dtype=np.int64)


def attacked_images(task: Task) -> tuple[ImageSet, Fit | None]:
    """Return the training images that an attack stamps, and how stamped images are resized.

    They are :func:`clean_images`, except for a dataset that keeps its images smaller than they
    are: an attacker puts the trigger on the file, before it is made smaller.
    """
    if isinstance(task.record("dataset").of(DatasetRecord).cache, int):  # a length, not a word
        dataset = _dataset(task)
        if isinstance(dataset, FileDataset) and dataset.fit("train") != dataset.square("train"):
            return dataset.originals(), dataset.fit("train")
    return clean_images(task, "train"), None


def attack_of(task: Task) -> Attack:
    """Return the attack of the task's poison."""
    implementation, options, _ = task.plugin_of("poison")
    attack: Attack = implementation(options, metadata_of(task))
    return attack


def poison_of(task: Task, attack: Attack) -> Poison:
    """Return the poisoned images of a training set, to be stamped."""
    images, fit = attacked_images(task)
    return Poison(attack, images, task.seed, fit)


def _dataset(task: Task) -> Dataset:
    implementation, options, _ = task.plugin_of("dataset")
    dataset: Dataset = implementation(options)
    return dataset


def training_images(task: Task) -> ImageSet:
    """Return the task's training set: with poison if it has any, without what was dropped."""
    images = clean_images(task, "train")
    if task.has("poison"):
        images = Overlay(images, poisoned_images(task.input("poison")))
    if task.has("sanitize"):
        dropped = load_file(task.input("sanitize") / "scores.safetensors")["scores"] > 0
        images = Subset(images, np.flatnonzero(~dropped))
    return images


def triggered_images(task: Task) -> TriggeredImages:
    """Return the validation split with the trigger of the task's poison on every image."""
    marks = list(read_manifest(task.input("poison") / "val.jsonl"))
    return TriggeredImages(clean_images(task, "val"), attack_of(task), marks)


@functools.lru_cache(maxsize=4)
def _decoded(folder: Path, split: Split) -> MappedArray | MappedImages:
    return open_images(folder / decoded_name(split), Names(folder / INDEX, split))


def poisoned_images(folder: Path) -> Mapping[int, Pixels]:
    """Return the changed training images of a poison's artifact, by index.

    Raises:
        StoreError: If they are damaged.
    """
    return open_changed_images(folder / POISONED)


def attacked_sizes(task: Task, indices: Sequence[int]) -> NDArray[np.int64]:
    """Return height and width of N poisoned images before they were resized, (N, 2)."""
    images, fit = attacked_images(task)
    if fit is None:
        changed = poisoned_images(task.input("poison"))  # mapped: no pixel is read
        sizes = [changed[index].shape[:2] for index in indices]
    else:
        sizes = [images.image(index).shape[:2] for index in indices]
    return np.asarray(sizes, dtype=np.int64).reshape(-1, 2)
