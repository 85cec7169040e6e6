"""A clean cache of images and its stored poison, as a run's store has them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from backbench.benchmark.instances import load_instance
from backbench.data.decode import decode
from backbench.data.packed import (
    ImageWriter,
    MappedArray,
    MappedImages,
    around,
    open_images,
    write_images,
)
from backbench.errors import Problem
from backbench.images import Pixels
from backbench.plugin import Attack, DatasetMetadata
from backbench.plugin.registry import load_registry
from backbench.poison.access import Access
from backbench.poison.poisoning import Poison
from benchmarks.data import TARGET

#: Seed of every poison.
SEED: Final = 0
#: The stored poison's images, beside the cache.
STORED: Final = "images.safetensors"
_CACHE: Final = "train.safetensors"
_METADATA: Final = "cache.json"


def shrink(home: Path, folder: Path, poisons: int, side: int) -> Path:
    """Lay out the training images of another folder as small squares.

    Args:
        home: As :func:`benchmarks.data.imagenet100` writes it.
        folder: Where to, in the same way.
        poisons: Images of the target class.
        side: Of each, px.

    Returns:
        ``folder``.
    """
    for path in _files(home, poisons):
        small = folder / path.relative_to(home)
        small.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(path) as image:
            image.resize((side, side)).save(small, quality=90)
    return folder


def _files(home: Path, poisons: int) -> list[Path]:
    found = []
    for folder in sorted((home / "train").iterdir()):
        found += sorted(folder.iterdir())[: poisons if folder.name == TARGET else None]
    return found


def write_cache(home: Path, folder: Path, poisons: int, trigger: Path, width: int) -> Path:
    """Decode training images into a cache, and store the poison of the target class beside it.

    Args:
        home: As :func:`benchmarks.data.imagenet100` writes it.
        folder: Where to.
        poisons: Images of the target class.
        trigger: The trigger's file.
        width: Of the trigger, px.

    Returns:
        ``folder``.
    """
    folder.mkdir()
    paths = _files(home, poisons)
    classes = sorted({path.parent.name for path in paths})
    labels = np.array([classes.index(path.parent.name) for path in paths], np.int64)
    images = [decode(path) for path in paths]
    sizes = np.array([image.shape[:2] for image in images], np.int64)
    uniform = bool((sizes == sizes[0]).all())
    if uniform:
        write_images(folder / _CACHE, np.stack(images), labels)
    else:
        _write_ragged(folder / _CACHE, images, labels=labels, sizes=sizes)
    metadata = {
        "sources": [str(path) for path in paths],
        "classes": classes,
        "trigger": str(trigger),
        "width": width,
    }
    (folder / _METADATA).write_text(json.dumps(metadata), encoding="utf-8")
    clean = Clean.read(folder)
    poison = Poison(clean.attack, Access(clean.images), SEED)
    size = (int(sizes[0][0]), int(sizes[0][1])) if uniform else None
    writer = ImageWriter(folder / STORED, poison.chosen, size=size)
    for image in poison.values():
        writer.add(image)
    writer.close()
    return folder


def _write_ragged(path: Path, images: Sequence[Pixels], **arrays: Any) -> None:
    head, tail = around((sum(image.size for image in images),), **arrays)
    with path.open("wb") as file:
        file.write(head)
        for image in images:
            file.write(image.tobytes())
        file.write(tail)


@dataclass(frozen=True, slots=True)
class Clean:
    """A cache, opened, and the attack on it.

    Args:
        images: Mapped.
        attack: Ready.
    """

    images: MappedArray | MappedImages
    attack: Attack

    @classmethod
    def read(cls, folder: Path) -> Clean:
        """Open what :func:`write_cache` wrote."""
        metadata = json.loads((folder / _METADATA).read_text(encoding="utf-8"))
        images = open_images(folder / _CACHE, metadata["sources"])
        options = {
            "target": TARGET,
            "trigger": metadata["trigger"],
            "width": metadata["width"],
            "rate": {"of": "target_class", "value": 1.0},
        }
        return cls(images, _attack(options, images, metadata["classes"]))


def _attack(options: Any, images: MappedArray | MappedImages, classes: Sequence[str]) -> Attack:
    problems: list[Problem] = []
    found = load_instance(
        {"attacks": {"patch": options}},
        "attacks",
        "patch",
        registry=load_registry(),
        folder=Path.cwd(),
        problems=problems,
    )
    assert found is not None, problems
    metadata = DatasetMetadata(
        classes=tuple(classes),
        size=None if images.pixels is None else images.pixels.shape[1:3],
        train=len(images),
        val=len(images),
        train_per_class=tuple(np.bincount(images.labels, minlength=len(classes)).tolist()),
    )
    made: Attack = found.registered.implementation()(found.options, metadata)
    return made
