"""Plan of the files to write: the images, their groups and their paths."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import features

from backbench.data.fingerprint import FileHashes
from backbench.images import Pixels
from backbench.plugin import Attack, Split
from backbench.poison.access import Access
from backbench.poison.files.layout import Layout, Part, file_names
from backbench.poison.files.request import Request
from backbench.poison.files.sources import PartFile, SplitImages, part_file
from backbench.poison.poisoning import ImageRef, Poison
from backbench.system.json_text import to_json


@dataclass(frozen=True, slots=True)
class Group:
    """Images of a split that are written to a part, and described in one manifest."""

    part: Part
    images: SplitImages
    indices: Sequence[int]
    stamped: bool
    manifest: Path


@dataclass(frozen=True)
class Plan:
    """All that will be written, and the class under which added poisons are listed."""

    request: Request
    attack: Attack
    layout: Layout
    train: SplitImages
    val: SplitImages
    access: Access
    poisons: Poison
    target: int | None

    @property
    def chosen(self) -> NDArray[np.int64]:
        """Indices of the poisons in the poisoned training set, (M,), ascending."""
        return self.poisons.chosen

    @property
    def writes_clean(self) -> bool:
        """Return whether clean images are written: on request, or if there are no files to list."""
        return self.request.poison.reencode_clean or self.train.paths is None

    @cached_property
    def stamped(self) -> tuple[Group, Group]:
        """The images that get the trigger, of both parts."""
        manifests, everything = self.layout.manifests, range(len(self.val))
        return (
            Group("train", self.train, self.chosen.tolist(), True, manifests["train"]),  # noqa: FBT003
            Group("val_poisoned", self.val, everything, True, manifests["val_poisoned"]),  # noqa: FBT003
        )

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """The groups of files that are written, in this order."""
        clean: dict[Part, tuple[Part, Sequence[int]]] = {
            "train": ("train", np.setdiff1d(np.arange(len(self.train)), self.chosen).tolist()),
            "val_poisoned": ("val", range(len(self.val))),
        }
        found = []
        for group in self.stamped:
            if group.part not in self.request.poison.splits:
                continue
            found.append(group)
            if self.writes_clean:
                part, indices = clean[group.part]
                manifest = self.layout.clean_manifest(part)
                found.append(Group(part, group.images, indices, False, manifest))  # noqa: FBT003
        return tuple(found)

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """The parts that get a list."""
        return tuple(dict.fromkeys(group.part for group in self.groups))

    @cached_property
    def labels(self) -> dict[Split, list[int]]:
        """The class index of every image of a split; an added poison is listed under the target."""
        added = [] if self.target is None else [self.target] * len(self._added)
        return {"train": self.train.labels.tolist() + added, "val": self.val.labels.tolist()}

    @cached_property
    def names(self) -> dict[Split, list[str]]:
        """The file name of every image of a split, below its part's folder."""
        classes, file_format = self.request.metadata.classes, self.request.format
        added = [self.poisons.ref(index).source.replace("/", "-") for index in self._added]
        return {
            one.split: file_names(
                [*one.sources, *more], self.labels[one.split], classes, file_format
            )
            for one, more in ((self.train, added), (self.val, []))
        }

    @property
    def _added(self) -> list[int]:
        added: list[int] = self.chosen[self.chosen >= len(self.train)].tolist()
        return added

    def ref(self, group: Group, index: int) -> ImageRef:
        """Return the names of an image of a group."""
        if self.is_composed(group):
            return self.poisons.ref(index)
        return group.images.ref(index)

    def is_composed(self, group: Group) -> bool:
        """Return whether the images of a group are made of parts, or added."""
        return self.poisons.composed and group.stamped and group.part == "train"

    def composed_of(self, group: Group, index: int) -> tuple[PartFile, ...]:
        """Return the parts of an image of a group; none where it is stamped in its place."""
        if not self.is_composed(group):
            return ()
        parts = self.poisons.recipes[index].parts
        return tuple(part_file(part, self.access.set(part.set)) for part in parts)

    def before(self, group: Group, index: int) -> str | Pixels | None:
        """Return the path or the pixels of an image before; ``None`` if it is added."""
        return None if index >= len(group.images) else group.images.image(index)

    def path(self, part: Part, split: Split, index: int) -> str:
        """Return where an image is written."""
        return f"{self.layout.images[part]}{os.sep}{self.names[split][index]}"

    @cached_property
    def identity(self) -> dict[str, Any]:
        """The values that decide the output, except its folder: equal for equal output."""
        request, poison = self.request, self.request.poison
        images = hashlib.sha256()
        for one in (self.train, self.val):
            for source, label in zip(one.sources, one.labels.tolist(), strict=True):
                images.update(f"{one.split}\0{source}\0{label}\n".encode())
        jpeg = features.version("libjpeg_turbo") or features.version("jpg")
        found = {
            "attack": request.attack.registered.info.name,
            "attack_options": request.attack.use().identity,
            "dataset": request.dataset.registered.info.name,
            "dataset_options": request.dataset.options.identity(),
            "dataset_images": images.hexdigest(),
            "dataset_content": request.data.fingerprint(_hashes()),
            "seed": request.seed,
            "format": request.format,
            "quality": request.quality if request.format == "jpeg" else None,
            "reencode_clean": poison.reencode_clean,
            "patch_columns": poison.patch_columns,
            "coder": f"Pillow {PIL.__version__}, libjpeg {jpeg}",
        }
        if sets := self._sets:
            found["attack_sets"] = sets
        plain: dict[str, Any] = json.loads(to_json(found))
        return plain

    @property
    def _sets(self) -> dict[str, dict[str, Any]]:
        """The further sets of images that the attack has opened, and their datasets."""
        found: dict[str, dict[str, Any]] = {}
        for name in self.access.threat["sets"]:
            images = hashlib.sha256()
            for source in self.access.set(name).sources:
                images.update(f"{source}\n".encode())
            found[name] = {"images": images.hexdigest()}
            if (opened := self.request.sets.get(name)) is not None:
                found[name] |= {
                    "dataset": opened.instance.registered.info.name,
                    "dataset_options": opened.instance.options.identity(),
                    "content": opened.data.fingerprint(_hashes()),
                }
        return found


def _hashes() -> FileHashes:
    """Return what hashes files on several threads, without a store to remember them in."""
    return FileHashes(Path(os.devnull))
