"""What evaluations of this process have learnt, for others of the same encoder.

An encoder is evaluated under every trigger, and on clean images each time: the head, and what it
says of clean images, are the same each time. A worker keeps the latest few.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backbench.model import Stage, stage_identity

#: How many heads are kept: of one encoder, those of some evaluators.
KEPT = 8

#: Inputs of an evaluation that nothing is learnt from.
_TRIGGERED = {"triggered", "poison"}


@dataclass(frozen=True, slots=True)
class Learnt:
    """An evaluator that has learnt, and what it said of the clean images.

    Args:
        state: Its head; empty if it has none that could be kept.
        clean: Scores of the clean validation images, (M, classes), by head.
        selection: What it chose on training images, for the record.
    """

    state: Mapping[str, NDArray[Any]]
    clean: Mapping[str, NDArray[np.float32]]
    selection: Mapping[str, Any]


KEPT_HEADS: OrderedDict[str, Learnt] = OrderedDict()


def name_of(stage: Stage, store: Path) -> str:
    """Name what an evaluation learns: equal names, equal heads.

    Args:
        stage: The evaluation.
        store: Where its inputs are; keys say what is in one store alone.
    """
    identity = stage_identity(stage)
    inputs = {role: key for role, key in identity["inputs"].items() if role not in _TRIGGERED}
    return json.dumps([str(store), {**identity, "inputs": inputs}], sort_keys=True)


def recall(name: str) -> Learnt | None:
    """Return what was kept under a name; ``None`` if nothing is there any more."""
    if name in KEPT_HEADS:
        KEPT_HEADS.move_to_end(name)
    return KEPT_HEADS.get(name)


def keep(name: str, learnt: Learnt) -> None:
    """Keep something; what has not been asked for the longest time may go."""
    KEPT_HEADS[name] = learnt
    KEPT_HEADS.move_to_end(name)
    while len(KEPT_HEADS) > KEPT:
        KEPT_HEADS.popitem(last=False)
