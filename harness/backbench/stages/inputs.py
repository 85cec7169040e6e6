"""Read what the dataset and poison stages have written, for later stages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, lru_cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from backbench.data.attacker_images import AttackerImages
from backbench.data.file_dataset import FileDataset
from backbench.data.files import FileImages
from backbench.data.packed import MappedArray, MappedImages, open_changed_images, open_images
from backbench.data.preprocess import Fit
from backbench.errors import StageError
from backbench.images import ImageSet, Overlay, Pixels, Subset, no_images
from backbench.model import TRIGGERS_ALONE
from backbench.plugin import Attack, AttackInfo, Dataset, DatasetMetadata, Split
from backbench.plugin.recipes import SET
from backbench.poison.access import Access
from backbench.poison.manifest import ManifestEntry, read_manifest
from backbench.poison.poisoning import Poison, TriggeredImages
from backbench.stages.task import Task
from backbench.store.index import Names
from backbench.store.integrity import checked
from backbench.store.metadata import DatasetRecord
from backbench.system.json_text import from_json

INDEX = "index.json"

#: The changed training images in a poison's artifact.
POISONED = "images.safetensors"

#: The triggered validation images in a poison's artifact, before any JPEG, of a learned trigger.
TRIGGERED = "triggered.safetensors"

#: The learned trigger in the artifact of its stage.
TRIGGER = "trigger.safetensors"


class Inputs:
    """The images that a stage reads: each property is read once, when it is first used.

    Args:
        task: The stage; it reads a dataset and, for some properties, a poison.
        role: Role of the dataset.
    """

    def __init__(self, task: Task, role: str = "dataset") -> None:
        self.task = task
        self._role = role

    @cached_property
    def metadata(self) -> DatasetMetadata:
        """Metadata of the dataset, as its stage found them."""
        return self._record.dataset

    @cached_property
    def train(self) -> ImageSet:
        """Training images without poison; see :meth:`val` for what it raises."""
        return self._clean("train")

    @cached_property
    def val(self) -> ImageSet:
        """Validation images.

        Raises:
            StoreError: If the images are stored decoded, and damaged.
            DataError: If they are not stored, and their files cannot be found.
        """
        return self._clean("val")

    @property
    def val_side(self) -> int | None:
        """Side of the validation images in pixels, the shorter one, without opening an image.

        ``None`` if they share no size.
        """
        size = self._record.sizes.get("val")
        return None if size is None else min(size)

    @cached_property
    def attacked(self) -> tuple[ImageSet, Fit | None]:
        """Training images as an attack meets them, and how they are made smaller afterwards.

        They are :attr:`train`, except for a dataset that stores its images smaller than they are:
        an attacker puts the trigger on the file, before it is made smaller.
        """
        if isinstance(self._record.cache, int):  # a length, not a word
            dataset = self._dataset()
            if isinstance(dataset, FileDataset) and dataset.fit("train") != dataset.square("train"):
                return dataset.originals(), dataset.fit("train")
        return self.train, None

    @cached_property
    def poisoned_train(self) -> ImageSet:
        """Training set: with poison if it has any, without what a defense dropped."""
        images = self.train
        if self.task.has("poison"):
            images = Overlay(images, poisoned_images(self.task.input("poison")))
        if self.task.has("sanitize"):
            dropped = load_file(self.task.input("sanitize") / "scores.safetensors")["scores"] > 0
            images = Subset(images, np.flatnonzero(~dropped))
        return images

    @cached_property
    def triggered(self) -> TriggeredImages:
        """Validation images, each with the trigger of the poison."""
        folder = self.task.input("poison")
        marks = list(read_manifest(folder / "val.jsonl"))
        stored = folder / TRIGGERED
        kept = open_changed_images(stored) if stored.is_file() else None
        return TriggeredImages(self.val, self.attack, marks, kept)

    @cached_property
    def attack(self) -> Attack:
        """Attack of the poison, with its learned trigger if it learns."""
        implementation, options, _ = self.task.plugin_of("poison")
        attack: Attack = implementation(options, self.metadata)
        return self._restored(attack, self.task.record("poison").stage.inputs.get("trigger"))

    @cached_property
    def own_attack(self) -> Attack:
        """Attack that the stage itself runs, with its learned trigger if the stage reads one."""
        implementation, options, _ = self.task.plugin()
        attack: Attack = implementation(options, self.metadata)
        return self._restored(attack, self.task.stage.inputs.get("trigger"))

    def _restored(self, attack: Attack, trigger: str | None) -> Attack:
        if trigger is None:
            return attack
        label = checked(self.task.store, trigger).label
        try:
            attack.restore(load_file(self.task.store.artifact(trigger) / TRIGGER))
        except (ValueError, NotImplementedError) as error:
            raise StageError(f"{label} cannot be used: {error}") from error
        return attack

    def poison(self, attack: Attack) -> Poison:
        """Return the poisoned images of the training set, to be stamped by the poison's stage."""
        images, fit = self.attacked
        _, options, info = self.task.plugin()
        chooses = not (isinstance(info, AttackInfo) and info.acts_on == "encoder")
        chooses = chooses and self.task.stage.content != TRIGGERS_ALONE
        roles = [role for role in self.task.stage.inputs if role.startswith(SET)]
        sets: dict[str, Callable[[], ImageSet]] = {
            role.removeprefix(SET): partial(self._clean, "train", role) for role in roles
        }
        for name, folder in options.sets().items():
            if isinstance(folder, Path):
                sets[name] = partial(AttackerImages, folder)
        features = self._clean_features if self.task.has("encoder") else None
        access = Access(images, sets, features)
        return Poison(attack, access, self.task.seed, fit, chooses=chooses)

    def _clean_features(self) -> NDArray[np.float32]:
        """Return the features of the training images under the encoder that is read, (N, D)."""
        from backbench.nn import load_encoder
        from backbench.training.extraction import extract

        encoder = load_encoder(self.task.input("encoder"))
        return extract(encoder, self.train, device=self.task.device, precision="fp32")

    def attacked_sizes(self, marks: Sequence[ManifestEntry]) -> NDArray[np.int64]:
        """Return height and width of N poisons as the attack made them, (N, 2)."""
        images, fit = self.attacked
        if fit is None:
            changed = poisoned_images(self.task.input("poison"))  # mapped: no pixel is read
            sizes = [mark.size or changed[mark.index].shape[:2] for mark in marks]
        else:
            sizes = [mark.size or images.image(mark.index).shape[:2] for mark in marks]
        return np.asarray(sizes, dtype=np.int64).reshape(-1, 2)

    @property
    def _record(self) -> DatasetRecord:
        return self.task.record(self._role).of(DatasetRecord)

    def _dataset(self, role: str = "") -> Dataset:
        implementation, options, _ = self.task.plugin_of(role or self._role)
        dataset: Dataset = implementation(options)
        return dataset

    def _clean(self, split: Split, role: str = "") -> ImageSet:
        if split == "val" and not self.metadata.labelled:
            return no_images()
        role = role or self._role
        folder = self.task.input(role)
        if (folder / decoded_name(split)).is_file():
            return _decoded(folder, split)
        images: ImageSet = self._dataset(role).load(split, verify=False)
        if isinstance(images, FileImages):  # the stage has read them all, this process only a few
            images.size = self.task.record(role).of(DatasetRecord).sizes[split]
        return images


def decoded_name(split: Split) -> str:
    """Return the file name of a split's decoded images, in the dataset's artifact."""
    return f"{split}.safetensors"


def stored_labels(folder: Path, split: Split) -> NDArray[np.int64]:
    """Return the class index of every image of a split, (N,), from a dataset's artifact."""
    index = from_json((folder / INDEX).read_text(encoding="utf-8"))
    return np.asarray(index[split]["labels"], dtype=np.int64)


def poisoned_images(folder: Path) -> Mapping[int, Pixels]:
    """Return the changed training images of a poison's artifact, by index.

    Raises:
        StoreError: If they are damaged.
    """
    return open_changed_images(folder / POISONED)


@lru_cache(maxsize=4)
def _decoded(folder: Path, split: Split) -> MappedArray | MappedImages:
    return open_images(folder / decoded_name(split), Names(folder / INDEX, split))
