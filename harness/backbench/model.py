"""Plain data of a benchmark: stages, cells and the plan that holds them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

#: Version of the recipe by which keys are made. Raising it invalidates every store.
KEY_SCHEMA = 2

#: How what a key is of is written; made once, since a plan hashes tens of thousands of stages.
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True)

#: Reserved name of an attack or a defense: do nothing.
NONE = "none"


class StageKind(StrEnum):
    """The kinds of stages, in the order of a cell's path."""

    DATASET = "dataset"
    POISON = "poison"
    PRETRAIN = "pretrain"
    IMPORT = "import"
    SANITIZE = "sanitize"
    REPAIR = "repair"
    FEATURES = "features"
    EVALUATE = "evaluate"


@dataclass(frozen=True, slots=True)
class PluginUse:
    """A plugin and the options it is used with, as they enter a key.

    Args:
        kind: ``attack``, ``ssl-method``, …
        name: The plugin's name.
        distribution: The distribution that ships it.
        revision: The plugin's revision.
        options: Validated options, defaults filled in, as JSON values.
        identity: Those of the options that change numbers.
    """

    kind: str
    name: str
    distribution: str
    revision: int
    options: Mapping[str, Any]
    identity: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Stage:
    """One unit of work, identified by everything that its result depends on.

    Args:
        kind: What is done.
        plugin: Who does it; ``None`` where the harness does (features).
        seed: Seed of every draw; ``None`` where nothing is drawn.
        inputs: Keys of the stages it reads, by role.
        content: Fingerprint of outside content (a dataset's), else empty.
        label: For people: ``pretrain moco-v2 on patch-targeted, seed 0``. Not in the key.
        given: Options of the inputs' plugins as this benchmark gives them, by role. Not in the
            key: they are the inputs' own, but for where files lie, and these may have moved since
            an input was made. Of an evaluation also the ``protocol`` that it follows, which its
            record shall name, and where a given ``head`` lies.
    """

    kind: StageKind
    plugin: PluginUse | None
    seed: int | None
    inputs: Mapping[str, str] = field(default_factory=dict)
    content: str = ""
    label: str = field(default="", compare=False)
    given: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, compare=False)

    @property
    def key(self) -> str:
        """Hash of everything that the result depends on: 32 hexadecimal digits."""
        return stage_key(self)


def stage_key(stage: Stage) -> str:
    """Hash everything that a stage's result depends on.

    Args:
        stage: The stage; its label and what its inputs are given do not count.

    Returns:
        The first 128 bits of a SHA-256, as 32 hexadecimal digits.
    """
    return identity_key(stage_identity(stage))


def stage_identity(stage: Stage) -> dict[str, Any]:
    """Return everything that a stage's result depends on, as JSON values."""
    use = stage.plugin
    return {
        "schema": KEY_SCHEMA,
        "kind": stage.kind.value,
        "plugin": use
        and {
            "kind": use.kind,
            "name": use.name,
            "distribution": use.distribution,
            "revision": use.revision,
            "options": dict(use.identity),
        },
        "seed": stage.seed,
        "inputs": dict(stage.inputs),
        "content": stage.content,
    }


def identity_key(identity: Mapping[str, Any]) -> str:
    """Hash what :func:`stage_identity` gave."""
    return hashlib.sha256(_CANONICAL.encode(identity).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True, order=True)
class CellName:
    """Where a cell stands in the matrix: instance names and the seed."""

    dataset: str
    attack: str
    method: str
    defense: str
    evaluator: str
    seed: int


@dataclass(frozen=True, slots=True)
class Cell:
    """One number of the leaderboard, and the stages that lead to it.

    Args:
        name: Where it stands in the matrix.
        path: Keys of its stages in an order in which they can run; the last one evaluates.
        control: Key of the evaluation of the clean encoder under the same trigger; ``None`` for
            a cell without an attack.
    """

    name: CellName
    path: tuple[str, ...]
    control: str | None

    @property
    def evaluation(self) -> str:
        """Key of the stage that makes the cell's numbers."""
        return self.path[-1]


@dataclass(frozen=True, slots=True)
class Plan:
    """A benchmark as a graph of stages.

    Args:
        benchmark: Its name.
        stages: Every distinct stage by key, each after those that it reads.
        cells: The cells, in the matrix's order.
        protocol: Id of the protocol card that it follows; empty without one.
    """

    benchmark: str
    stages: Mapping[str, Stage]
    cells: tuple[Cell, ...]
    protocol: str = ""
