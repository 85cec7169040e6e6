"""Images of a cell, read from the store as its stages read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backbench.data.packed import open_changed_images
from backbench.errors import BackbenchError, printable
from backbench.images import UNKNOWN, ImageSet, Pixels, Subset
from backbench.model import Stage, StageKind
from backbench.poison.manifest import ManifestEntry, read_manifest
from backbench.poison.poisoning import TriggeredImages
from backbench.report.figures.opened import Opened
from backbench.stages.inputs import TRIGGERED, Inputs, poisoned_images
from backbench.stages.task import Task

#: What reading images and running plugins may raise where a store is not whole.
UNREADABLE = (BackbenchError, OSError, ValueError, KeyError, IndexError)

NO_IMAGES = "A bundle has no images and no encoders."


def inputs_of(opened: Opened, dataset: str, poison: str | None = None, seed: int = 0) -> Inputs:
    """Return the images of a dataset, with a poison if one is given, as a stage meets them.

    Args:
        opened: A store.
        dataset: Key of the dataset.
        poison: Key of the poison.
        seed: Seed of what the stage would draw.
    """
    if opened.store is None:
        raise ValueError(NO_IMAGES)
    stages = opened.plan.stages
    read = {"dataset": dataset} | ({"poison": poison} if poison else {})
    given = {
        role: use.options for role, key in read.items() if (use := stages[key].plugin) is not None
    }
    stage = Stage(StageKind.FEATURES, None, seed, read, given=given)
    return Inputs(task_of(opened, stage))


def task_of(opened: Opened, stage: Stage) -> Task:
    """Return a stage as a task that writes nothing."""
    if opened.store is None:
        raise ValueError(NO_IMAGES)
    return Task(stage, opened.store, Path(), opened.registry, "cpu", lambda *_: None)


def shared_inputs(opened: Opened, dataset: str, poison: str | None = None) -> Inputs:
    """Return :func:`inputs_of`, once for all cells."""
    return opened.once(("inputs", dataset, poison), lambda: inputs_of(opened, dataset, poison))


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """A validation image without and with the trigger, and the line of the manifest."""

    clean: Pixels
    triggered: Pixels
    mark: ManifestEntry


def triggered_images(inputs: Inputs, indices: NDArray[np.int64]) -> list[Shown]:
    """Return some validation images with the trigger; no other is stamped."""
    folder = inputs.task.input("poison")
    wanted = set(indices.tolist())
    marks = {
        at: mark for at, mark in enumerate(read_manifest(folder / "val.jsonl")) if at in wanted
    }
    stored = folder / TRIGGERED
    kept = open_changed_images(stored) if stored.is_file() else None
    few = {number: kept[int(at)] for number, at in enumerate(indices)} if kept else None
    clean = Subset(inputs.val, indices)
    chosen = [marks[int(at)] for at in indices]
    stamped = TriggeredImages(clean, inputs.attack, chosen, few)
    return [
        Shown(clean.image(number), stamped.image(number), mark)
        for number, mark in enumerate(chosen)
    ]


@dataclass(frozen=True, slots=True, eq=False)
class Poisoned:
    """A poisoned training image, what it was made of, and its line of the manifest."""

    before: Pixels | None
    after: Pixels
    mark: ManifestEntry


def poisons_of(inputs: Inputs, most: int) -> tuple[list[Poisoned], int]:
    """Return some of the poisons of a training set, evenly chosen, and how many there are."""
    folder = inputs.task.input("poison")
    marks = list(read_manifest(folder / "train.jsonl"))
    if not marks:
        return [], 0
    changed = poisoned_images(folder)
    at = np.unique(np.linspace(0, len(marks) - 1, min(most, len(marks))).round().astype(int))
    chosen = [marks[int(one)] for one in at]
    found = [Poisoned(_before(inputs.train, one), changed[one.index], one) for one in chosen]
    return [_fitting(one) for one in found], len(marks)


def _before(train: ImageSet, mark: ManifestEntry) -> Pixels | None:
    """Return the image that a poison replaces, else the first training image that it is made of."""
    if mark.before:
        return train.image(mark.index)
    of_train = [part.index for part in mark.parts if part.set == "train"]
    return train.image(of_train[0]) if of_train else None


def _fitting(one: Poisoned) -> Poisoned:
    """Leave the boxes out where the poison was made smaller after it was stamped."""
    made = one.mark.size or (one.before.shape[:2] if one.before is not None else None)
    if made == one.after.shape[:2]:
        return one
    return replace(one, mark=replace(one.mark, boxes=()))


class ListedImages(ImageSet):
    """Some images, (H, W, 3) each, without classes; ``size`` as of the set that they are of."""

    def __init__(self, images: Sequence[Pixels], size: tuple[int, int] | None) -> None:
        names = tuple(str(number) for number in range(len(images)))
        super().__init__(np.full(len(images), UNKNOWN), names, size)
        self._images = images

    def image(self, index: int) -> Pixels:
        """Return one image, (H, W, 3), uint8."""
        return self._images[index]


def why(error: Exception) -> str:
    """Return an error as one sentence."""
    first = printable(str(error)).strip().splitlines()
    text = first[0] if first else type(error).__name__
    return f"It cannot be drawn: {text}".rstrip(".") + "."


def class_name(classes: Sequence[str], label: int) -> str:
    """Return the name of a class; a word for none."""
    return classes[label] if 0 <= label < len(classes) else "no class"
