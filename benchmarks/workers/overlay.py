"""A poisoned training set from a clean cache in memory; argv: ``overlay`` or ``stage``, N, side."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from backbench.config import load_instance
from backbench.errors import Fault
from backbench.images import ArrayImages, Overlay, Pixels
from backbench.plugin import Attack, DatasetFacts
from backbench.poisoning import Mark, choose, stamp
from backbench.registry import load_registry
from benchmarks.worker import serve

TASK, COUNT, SIDE = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
_CLASSES = 10


def prepare() -> tuple[ArrayImages, Attack, dict[int, Pixels]]:
    """Make a clean set, the attack on one of its classes, and that attack's poison."""
    rng = np.random.default_rng(0)
    total = _CLASSES * COUNT
    pixels = rng.integers(0, 256, (total, SIDE, SIDE, 3), dtype=np.uint8)
    labels = np.repeat(np.arange(_CLASSES), COUNT)
    names = tuple(f"train/{index:06d}" for index in range(total))
    clean = ArrayImages(pixels, labels, names)
    attack = _attack(clean)
    return clean, attack, {index: picture for index, (picture, _) in _poison(attack, clean).items()}


def _attack(clean: ArrayImages) -> Attack:
    tables = {
        "attacks": {
            "patch": {
                "target": "0",
                "width": SIDE // 4,
                "rate": {"of": "target_class", "value": 1.0},
            }
        }
    }
    faults: list[Fault] = []
    found = load_instance(
        tables,
        "attacks",
        "patch",
        registry=load_registry(),
        folder=Path.cwd(),
        faults=faults,
    )
    assert found is not None, faults
    facts = DatasetFacts(
        classes=tuple(map(str, range(_CLASSES))),
        size=(SIDE, SIDE),
        train=len(clean),
        val=len(clean),
        train_per_class=(COUNT,) * _CLASSES,
    )
    made: Attack = found.registered.implementation()(found.options, facts)
    return made


def _poison(attack: Attack, clean: ArrayImages) -> dict[int, tuple[Pixels, Mark]]:
    chosen = choose(attack, clean.labels, 0).tolist()
    return {index: stamp(attack, clean, index, "train", 0) for index in chosen}


def timed(state: tuple[ArrayImages, Attack, dict[int, Pixels]]) -> dict[str, Any]:
    """Make the set, or the poison; then, untimed, compare."""
    clean, attack, poison = state
    start = time.perf_counter()
    if TASK == "stage":
        found = _poison(attack, clean)
        lines = "".join(mark.line() for _, mark in found.values())
        seconds = time.perf_counter() - start
        same = all(np.array_equal(found[index][0], poison[index]) for index in poison)
        return {"units": len(found), "seconds": seconds, "equal": same, "bytes": len(lines)}
    ready = Overlay(clean, poison)
    seconds = time.perf_counter() - start
    assert ready.pixels is not None
    expected = clean.pixels.copy()
    expected[list(poison)] = np.stack(list(poison.values()))
    equal = bool(np.array_equal(ready.pixels, expected))
    return {"units": len(poison), "seconds": seconds, "equal": equal}


serve(prepare, timed)
