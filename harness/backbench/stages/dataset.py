"""Read a dataset once: every image is decoded; small images, and requested ones, are kept."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from backbench.data.cache import Layout, build
from backbench.data.file_dataset import FileDataset
from backbench.data.files import FileImages
from backbench.data.fingerprint import FileHashes
from backbench.data.limits import keeps
from backbench.data.packed import write_images
from backbench.errors import DataError
from backbench.images import UNKNOWN, ImageSet
from backbench.plugin import Dataset, DatasetMetadata, Split
from backbench.plugin.calling import kind_of
from backbench.stages.inputs import INDEX, decoded_name
from backbench.stages.task import Outcome, Task
from backbench.store.index import write_index
from backbench.store.metadata import DatasetRecord
from backbench.system import files
from backbench.system.cores import usable_cores

_SPLITS: tuple[Split, Split] = ("train", "val")


def run(task: Task) -> Outcome:
    """Verify both splits; keep the pixels that are in memory, or wanted."""
    implementation, options, _ = task.plugin()
    dataset: Dataset = implementation(options)
    metadata = dataset.metadata()
    read: dict[Split, ImageSet] = {}
    sizes: dict[str, Any] = {}
    decoded: dict[str, int | None] = {}
    problems: list[str] = []
    progress = _Progress(task, metadata.train + metadata.val)
    for split in _SPLITS:
        kept = task.folder / decoded_name(split)
        try:
            images = _read(task, dataset, split, progress)
            check_split(images, split, metadata)
        except DataError as error:  # report the other split's problems as well
            problems.append(str(error))
            continue
        read[split] = images
        sizes[split] = images.size
        if images.pixels is not None and len(images):
            write_images(kept, images.pixels, images.labels)
        decoded[split] = kept.stat().st_size if kept.is_file() else None if len(images) else 0
    if problems:
        raise DataError("; ".join(problems))
    if isinstance(dataset, FileDataset):
        _check_content(task, dataset, task.stage.content)
    write_index(task.folder / INDEX, metadata.classes, read)
    cache = dataset.options.cache if isinstance(dataset, FileDataset) else None
    return Outcome(DatasetRecord(metadata, sizes=sizes, decoded=decoded, cache=cache))


def _read(task: Task, dataset: Dataset, split: Split, progress: _Progress) -> ImageSet:
    """Read every image of a split; keep those that are files, if they are to be kept."""
    if not isinstance(dataset, FileDataset):
        images = dataset.load(split, verify=True)
        progress(len(images))
        return images
    images = dataset.load(split, verify=False)
    if not isinstance(images, FileImages):  # small: they have been read
        progress(len(images))
        return images
    layout = Layout.of(images)
    images.size = layout.size
    if not keeps(dataset.options.cache, layout.total):
        checked = dataset.load(split, verify=True)
        progress(len(images))
        return checked
    # Outside of the artifact's folder, which does not outlive a run that is killed.
    built = task.store.building(task.stage.key) / decoded_name(split)
    try:
        build(built, layout, cores=all_cores(task), progress=progress)
    except DataError as error:
        raise DataError(f"{split} split: {error}") from error
    kept = task.folder / built.name
    try:
        os.link(built, kept)
    except OSError:  # a file system without links
        built.replace(kept)
    return images


def check_split(images: ImageSet, split: Split, metadata: DatasetMetadata) -> None:
    """Compare a split with what image sets are, and with the dataset's metadata."""
    if not isinstance(images, ImageSet):
        raise DataError(f"{split}: the dataset gave {kind_of(images)}, not an ImageSet")
    labels, pixels = images.labels, images.pixels
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or len(images.sources) != len(labels):
        raise DataError(
            f"{split}: labels {labels.dtype} {labels.shape} of {len(images.sources)} images: they "
            "must be the class index of each"
        )
    if pixels is not None and (pixels.dtype != np.uint8 or pixels.shape[3:] != (3,)):
        raise DataError(f"{split}: pixels {pixels.dtype} {pixels.shape}, not uint8 (N, H, W, 3)")
    expected = metadata.train if split == "train" else metadata.val
    if len(images) != expected:
        raise DataError(f"{split}: {expected} images announced, {len(images)} found")
    if not metadata.labelled:
        if (labels != UNKNOWN).any():
            raise DataError(f"{split}: the dataset has no classes, and its images have labels")
        return
    if labels.min(initial=0) < 0 or labels.max(initial=0) >= len(metadata.classes):
        raise DataError(f"{split}: a label is outside [0, {len(metadata.classes)})")
    counts = np.bincount(labels, minlength=len(metadata.classes))
    wrong = np.flatnonzero(counts != metadata.train_per_class) if split == "train" else ()
    for index in wrong[:1]:
        raise DataError(
            f"train: {metadata.train_per_class[index]} images of class {metadata.classes[index]!r} "
            f"announced, {counts[index]} found"
        )


def _check_content(task: Task, dataset: Dataset, content: str) -> None:
    """Stop if a file was changed since the run began: the key is of the old content."""
    if dataset.fingerprint(FileHashes(task.store.files_cache)) != content:
        files.remove(task.store.building(task.stage.key))  # it may hold images of another key
        raise DataError("an image was changed while the dataset was read: run again")


def check_unchanged(task: Task) -> None:
    """Stop a stage whose images may have changed meanwhile, since the store does not keep them."""
    if not task.has("dataset"):
        return
    record = task.record("dataset")
    found = record.of(DatasetRecord)
    if None in found.decoded.values() or isinstance(found.cache, int):
        implementation, options, _ = task.plugin_of("dataset")
        _check_content(task, implementation(options), record.stage.content)


def all_cores(task: Task) -> tuple[int, ...]:
    """Return the cores that this process has, and those that other workers of the run have."""
    return tuple(
        sorted({*usable_cores(), *(core for device in task.others for core in device.cores)})
    )


class _Progress:
    def __init__(self, task: Task, total: int) -> None:
        self._task, self._total = task, total
        self._done = self._reported = 0
        task.progress(0, total, {})

    def __call__(self, done: int) -> None:
        self._done += done
        if self._done - self._reported >= max(1, self._total // 200) or self._done == self._total:
            self._reported = self._done
            self._task.progress(self._done, self._total, {})
