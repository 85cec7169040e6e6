"""The encoders of a cell: its own, the same without the defense, its control's; and their files."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backbench.model import NONE, Cell, StageKind
from backbench.report.figures.opened import Opened
from backbench.stages.features import FILE

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Encoders:
    """Keys of the encoders of a cell, each with the name that figures give it.

    Args:
        own: The encoder that is evaluated.
        undefended: That of the same cell without the defense; ``own`` where no defense changes it.
        control: That of the control; ``None`` without an attack.
        poison: The poison whose trigger is shown; ``None`` without an attack.
        dataset: The dataset of the evaluation.
        names: Names, by key.
    """

    own: str
    undefended: str
    control: str | None
    poison: str | None
    dataset: str
    names: dict[str, str]

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys, without repetition: undefended, own, control."""
        return tuple(dict.fromkeys(filter(None, (self.undefended, self.own, self.control))))


def encoders_of(opened: Opened, cell: Cell) -> Encoders:
    """Return the encoders of a cell, by its plan."""
    read = _read(opened, cell.evaluation)
    own = read["encoder"]
    control = None if cell.control is None else _read(opened, cell.control)["encoder"]
    undefended = _undefended(opened, cell, own)
    name = cell.name
    names = {own: name.attack if name.attack != NONE else "clean"}
    if undefended != own:
        names = {undefended: names[own], own: f"after {name.defense}"}
    if control is not None and control not in names:
        names[control] = "control (clean)"
    return Encoders(own, undefended, control, read.get("poison"), read["dataset"], names)


def _read(opened: Opened, evaluation: str) -> dict[str, str]:
    """Return the keys of the encoder, the dataset and the poison of an evaluation, by role."""
    stages = opened.plan.stages
    inputs = dict(stages[evaluation].inputs)
    for role in ("clean", "triggered"):
        if role in inputs:
            inputs |= stages[inputs[role]].inputs
    return inputs


def _undefended(opened: Opened, cell: Cell, own: str) -> str:
    if cell.name.defense == NONE:
        return own
    other = replace(cell.name, defense=NONE)
    for one in opened.plan.cells:
        if one.name == other:
            return _read(opened, one.evaluation)["encoder"]
    stages, found = opened.plan.stages, own
    while True:  # what defenses have changed came from another encoder
        stage = stages[found]
        if stage.kind is StageKind.REPAIR:
            found = stage.inputs["encoder"]
        elif "sanitize" in stage.inputs:
            found = stages[stage.inputs["sanitize"]].inputs["encoder"]
        else:
            return found


def training_of(opened: Opened, encoder: str) -> str | None:
    """Return the key of the training that an encoder comes from; ``None`` of an external one."""
    stages = opened.plan.stages
    while stages[encoder].kind in {StageKind.REPAIR, StageKind.IMPLANT}:
        encoder = stages[encoder].inputs["encoder"]
    return encoder if stages[encoder].kind is StageKind.PRETRAIN else None


def features_of(
    opened: Opened, encoder: str, dataset: str, poison: str | None = None
) -> dict[str, NDArray[Any]] | None:
    """Return stored features of a dataset under an encoder: of triggered images with a poison.

    Returns:
        ``val`` (N, D) and ``val_labels`` (N,) and, of clean images, ``train`` and
        ``train_labels``; ``None`` if they are not in the store.
    """
    key = _features(opened).get((encoder, dataset, poison))
    if key is None or opened.store is None or opened.record_of(key) is None:
        return None
    return _loaded(opened, key)


def _features(opened: Opened) -> dict[tuple[str, str, str | None], str]:
    """Return the keys of the features in a plan by encoder, dataset and poison."""

    def index() -> dict[tuple[str, str, str | None], str]:
        return {
            (stage.inputs["encoder"], stage.inputs["dataset"], stage.inputs.get("poison")): key
            for key, stage in opened.plan.stages.items()
            if stage.kind is StageKind.FEATURES
        }

    return opened.once("features", index)


def _loaded(opened: Opened, key: str) -> dict[str, NDArray[Any]] | None:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    if opened.store is None:
        return None
    try:
        return load_file(opened.store.artifact(key) / FILE)
    except (OSError, SafetensorError):
        return None


def few(labels: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Return the indices of at most so many images, as evenly of all classes as may be, sorted."""
    order = np.argsort(labels, kind="stable")
    _, start, counts = np.unique(labels[order], return_index=True, return_counts=True)
    rank = np.arange(len(labels)) - np.repeat(start, counts)
    return np.sort(order[np.argsort(rank, kind="stable")[:most]])
