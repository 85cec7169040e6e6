"""A poisoned training set from an opened clean cache; argv: what to do, the cache's folder.

``ready``: from the attack to a set that a loader can read. ``read``: the same, and every poisoned
image read once. ``stored`` and ``stored-read``: the same from the poison in a store, as the
stages after it do. ``stage``: the poison itself, chosen, stamped, hashed and described.
"""

from __future__ import annotations

import hashlib
import sys
import time
from pathlib import Path
from typing import Any, Final

import numpy as np

from backbench.images import Overlay, Pixels
from backbench.poison.access import Access
from backbench.poison.manifest import ManifestEntry
from backbench.poison.poisoning import Poison, stamp
from backbench.stages.inputs import poisoned_images
from benchmarks.caches import SEED, Clean
from benchmarks.worker import serve

TASK, FOLDER = sys.argv[1], Path(sys.argv[2])
#: How often a set is made in a timed section: the clock of CPU-seconds ticks every 10 ms.
_OFTEN: Final = 10 if TASK.endswith("read") else 1000
#: Every which poisoned image is compared.
_STEP: Final = 10


def timed(clean: Clean) -> dict[str, Any]:
    """Make the set, or the poison; then, untimed, say what some of its images are."""
    if TASK == "stage":
        return _stage(clean)
    start = time.perf_counter()
    for _ in range(_OFTEN):
        ready, chosen = _ready(clean)
        if TASK.endswith("read"):
            _read(ready, chosen)
    seconds = time.perf_counter() - start
    return {
        "units": _OFTEN * len(chosen),
        "seconds": seconds,
        "images": [_described(clean, ready, index) for index in chosen[::_STEP]],
    }


def _ready(clean: Clean) -> tuple[Overlay, list[int]]:
    if TASK.startswith("stored"):
        stored = poisoned_images(FOLDER)
        return Overlay(clean.images, stored), list(stored)
    poison = Poison(clean.attack, Access(clean.images), SEED)
    return Overlay(clean.images, poison), poison.chosen.tolist()


def _read(ready: Overlay, chosen: list[int]) -> None:
    """Read images as a loader does: of one size out of one array, others one by one."""
    pixels = ready.pixels
    for index in chosen:
        (ready.image(index) if pixels is None else pixels[index]).max()


def _described(clean: Clean, ready: Overlay, index: int) -> list[Any]:
    mark = stamp(clean.attack, clean.images, index, "train", SEED)[1]
    return _line(mark, ready.image(index) if ready.pixels is None else ready.pixels[index])


def _line(mark: ManifestEntry, image: Pixels) -> list[Any]:
    """Return an image's file, where its trigger is, and the hash of its pixels in the set."""
    digest = hashlib.sha256(np.ascontiguousarray(image).data).hexdigest()
    return [mark.source, mark.box.x, mark.box.y, digest]


def _stage(clean: Clean) -> dict[str, Any]:
    start = time.perf_counter()
    found = list(Poison(clean.attack, Access(clean.images), SEED).described())
    lines = "".join(mark.line() for mark, _ in found)
    seconds = time.perf_counter() - start
    images = [_line(mark, image) for mark, image in found[::_STEP]]
    return {"units": len(found), "seconds": seconds, "bytes": len(lines), "images": images}


serve(lambda: Clean.read(FOLDER), timed)
