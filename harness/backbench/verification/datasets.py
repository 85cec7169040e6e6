"""Check a dataset's stage: against its own record, and against the images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np

from backbench.data.fingerprint import FileHashes
from backbench.data.many import map_threads
from backbench.data.packed import open_images
from backbench.errors import DataError
from backbench.images import UNKNOWN, ImageSet
from backbench.plugin import Dataset, Split
from backbench.stages.inputs import INDEX, decoded_name
from backbench.stages.task import Task
from backbench.store.metadata import DatasetRecord
from backbench.store.records import Record
from backbench.verification.evidence import Evidence, index_of

SPLITS: tuple[Split, Split] = ("train", "val")


def index_differences(record: Record, evidence: Evidence) -> Iterator[str]:
    """Compare a dataset's index with the metadata in its record."""
    metadata = record.of(DatasetRecord).dataset
    index = index_of(evidence, record.key)
    if index["classes"] != list(metadata.classes):
        yield f"{INDEX}: its classes are not those of the record"
    numbers = {"train": metadata.train, "val": metadata.val}
    for split in SPLITS:
        labels = np.asarray(index[split]["labels"], dtype=np.int64)
        if not len(labels) == len(index[split]["sources"]) == numbers[split]:
            yield (
                f"{INDEX}: {len(labels)} labels and {len(index[split]['sources'])} sources in "
                f"{split}, its record says {numbers[split]} images"
            )
        if not metadata.labelled:
            if (labels != UNKNOWN).any():
                yield f"{INDEX}: {split} has labels, and its record no classes"
        elif len(labels) and (labels.min() < 0 or labels.max() >= len(metadata.classes)):
            yield f"{INDEX}: {split} has a label outside [0, {len(metadata.classes)})"
        elif split == "train":
            counts = np.bincount(labels, minlength=len(metadata.classes)).tolist()
            if counts != list(metadata.train_per_class):
                yield f"{INDEX}: its record says other numbers of training images a class"


def differences(task: Task, evidence: Evidence) -> Iterator[str]:
    """Compare a dataset's artifact, the folder of the restored stage, with the images themselves.

    Raises:
        DataError: If the images are not there.
        PluginError: If the plugin is not.
    """
    implementation, options, _ = task.plugin()
    dataset: Dataset = implementation(options)
    fingerprint = dataset.fingerprint(FileHashes(Path("/nonexistent")))  # nothing remembered
    if fingerprint != task.stage.content:
        changed: list[str] = []
        with suppress(DataError):  # a file that is gone meanwhile does not hide the difference
            for split in SPLITS:
                changed += _changed(task, evidence, dataset, split)
        named = f": {', '.join(changed)}" if changed else ""
        yield f"the dataset's content is not what the key is of: files were changed{named}"
        return
    index = index_of(evidence, task.stage.key)
    for split in SPLITS:
        images = dataset.load(split, verify=False)
        if index[split] != {"sources": list(images.sources), "labels": images.labels.tolist()}:
            yield f"{INDEX}: {split} is not the dataset's"
        path = task.folder / decoded_name(split)
        if not path.is_file():
            continue
        stored = open_images(path, images.sources)
        if not np.array_equal(stored.labels, images.labels):
            yield f"{path.name}: its labels are not the dataset's"

        for number in _differing(stored, images):
            yield f"{path.name}: image {number} is not the dataset's"


def _changed(task: Task, evidence: Evidence, dataset: Dataset, split: Split) -> Iterator[str]:
    """Yield the first image of a split that is gone, and the first that is new or changed."""
    index, images = index_of(evidence, task.stage.key)[split], dataset.load(split, verify=False)
    before = dict(zip(index["sources"], index["labels"], strict=True))
    after = dict(zip(images.sources, images.labels.tolist(), strict=True))
    if gone := next((one for one in before if one not in after), None):
        yield f"{gone} is gone"
    if new := next((one for one in after if one not in before), None):
        yield f"{new} is new"
    if moved := next((one for one in after if before.get(one, after[one]) != after[one]), None):
        yield f"{moved} is of another class"
    path = task.folder / decoded_name(split)
    if before == after and path.is_file():
        stored = open_images(path, images.sources)
        if differing := _differing(stored, images):
            yield f"{images.sources[differing[0]]} has other pixels"


def _differing(stored: ImageSet, images: ImageSet) -> list[int]:
    """Return the positions of images that are not the same in two sets."""

    def same(number: int) -> bool:
        return np.array_equal(stored.image(number), images.image(number))

    equal = map_threads(same, range(len(images)))
    return [number for number, one in enumerate(equal) if not one]
