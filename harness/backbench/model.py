"""Plain data of a benchmark: stages, cells and the plan that holds them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import Any, Final, Literal, NamedTuple, Self

from backbench.keys import KEY_SCHEMA, canonical, key_of

#: Settings by which pydantic reads stored JSON: nothing unknown, nothing that is not finite.
FROM_JSON: Final[Any] = {"extra": "forbid", "allow_inf_nan": False}
_FROM_INSTANCES: Final[Any] = {**FROM_JSON, "revalidate_instances": "always"}

#: Reserved name of an attack or a defense: do nothing.
NONE = "none"

#: What joins the defenses of a chain: ``patch-search+distill``.
CHAIN: Final = "+"

#: Of which triggered images the attack success rate is a share: of those of the other classes, or
#: of all, the target's own among them.
Denominator = Literal["other-classes", "all-images"]

#: Pattern of the name of a reported number, and of a variant of an evaluator's results.
VARIANT_NAME: Final = r"[\w.=+-]+"


class StageKind(StrEnum):
    """The kinds of stages, in the order of a cell's path."""

    DATASET = "dataset"
    FIT_TRIGGER = "fit-trigger"
    POISON = "poison"
    PRETRAIN = "pretrain"
    IMPORT = "import"
    IMPLANT = "implant"
    SANITIZE = "sanitize"
    INSPECT = "inspect"
    REPAIR = "repair"
    FIT_DETECTOR = "fit-detector"
    DETECT = "detect"
    FEATURES = "features"
    FIT = "fit"
    PREDICT = "predict"


class Axis(StrEnum):
    """The axes of the matrix, in the order of a row's names; ``seed`` is apart.

    Attributes:
        plural: Name of its entry in the matrix: ``attacks``.
        kind: The kind of plugin that its instances are of: ``ssl-method`` of ``method``.
        optional: Whether ``none`` is a value: do nothing.
        tables: Name of the tables of its instances: ``attacks``; of ``downstream`` ``datasets``.
    """

    plural: str
    kind: str
    optional: bool
    tables: str

    def __new__(
        cls,
        singular: str,
        kind: str,
        optional: bool = False,  # noqa: FBT001, FBT002
        tables: str = "",
    ) -> Self:
        """Make a member, whose value is its name in a cell."""
        made = str.__new__(cls, singular)
        made._value_ = singular
        made.plural, made.kind, made.optional = f"{singular}s", kind, optional
        made.tables = tables or made.plural
        return made

    DATASET = "dataset", "dataset"
    DOWNSTREAM = "downstream", "dataset", True, "datasets"
    METHOD = "method", "ssl-method"
    ATTACK = "attack", "attack", True
    DEFENSE = "defense", "defense", True
    EVALUATOR = "evaluator", "evaluator"

    def parts(self, name: str) -> tuple[str, ...]:
        """Return the instances that a name stands for: of a defense, those of its chain."""
        return tuple(name.split(CHAIN)) if self is Axis.DEFENSE else (name,)

    @classmethod
    def of_plural(cls, name: str) -> Axis:
        """Return the axis of a table of instances; a KeyError if there is none."""
        return {axis.plural: axis for axis in cls.with_tables()}[name]

    @classmethod
    def with_tables(cls) -> tuple[Axis, ...]:
        """Return the axes whose instances have tables of their own."""
        return tuple(axis for axis in cls if axis.tables == axis.plural)


@dataclass(frozen=True)
class PluginUse:
    """A plugin and the options it is used with, validated and complete, as JSON values.

    ``identity`` are those of the options that change numbers.
    """

    __pydantic_config__ = _FROM_INSTANCES

    kind: str
    name: str
    distribution: str
    revision: int
    options: Mapping[str, Any]
    identity: Mapping[str, Any]

    @property
    def keyed(self) -> dict[str, Any]:
        """The part of it that enters a key, as JSON values."""
        return {
            "kind": self.kind,
            "name": self.name,
            "distribution": self.distribution,
            "revision": self.revision,
            "options": dict(self.identity),
        }

    @cached_property
    def canonical(self) -> str:
        """The canonical text of :attr:`keyed`."""
        return canonical(self.keyed)

    def to_json(self) -> dict[str, Any]:
        """Return JSON values; ``identity`` is left out where it is all options."""
        values = asdict(self)
        if self.identity == self.options:
            del values["identity"]
        return values


#: Content of a poison of which only the triggered validation images are used.
TRIGGERS_ALONE: Final = "triggers alone"


@dataclass(frozen=True, slots=True)
class Stage:
    """One unit of work, identified by everything that its result depends on.

    Args:
        kind: What is done.
        plugin: Who does it; ``None`` where the harness does (features).
        seed: Seed of every draw; ``None`` where nothing is drawn.
        inputs: Keys of the stages it reads, by role.
        content: Fingerprint of outside content (a dataset's), else empty; :data:`TRIGGERS_ALONE` of
            a poison that no training reads.
        label: For people: ``pretrain moco-v2 on patch-targeted, seed 0``. Not in the key.
        given: Options of the inputs' plugins as this benchmark gives them, by role. Not in the
            key: they are the inputs' own, but for where files lie, and these may have moved since
            an input was made. Of a prediction also the ``protocol`` that it follows, which its
            record names; of a classifier that was fitted elsewhere, where its file lies.
        guard: The defense that wraps the method of a training; in the key only where there is one.
        backbone: The plugin whose network is trained or read; in the key only where there is one.
        guard_backbone: The same of a network that the guard trains or reads.
    """

    __pydantic_config__ = _FROM_INSTANCES

    kind: StageKind
    plugin: PluginUse | None
    seed: int | None
    inputs: Mapping[str, str] = field(default_factory=dict)
    content: str = ""
    label: str = field(default="", compare=False)
    given: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, compare=False)
    guard: PluginUse | None = None
    backbone: PluginUse | None = None
    guard_backbone: PluginUse | None = None

    @property
    def uses(self) -> tuple[PluginUse, ...]:
        """The plugins that do the stage: that of its kind, its guard, and their backbones."""
        uses = self.plugin, self.guard, self.backbone, self.guard_backbone
        return tuple(use for use in uses if use is not None)

    def changed(self, change: Callable[[PluginUse], PluginUse]) -> Stage:
        """Return the stage with each of its plugins changed."""
        return replace(
            self,
            plugin=self.plugin and change(self.plugin),
            guard=self.guard and change(self.guard),
            backbone=self.backbone and change(self.backbone),
            guard_backbone=self.guard_backbone and change(self.guard_backbone),
        )

    @property
    def key(self) -> str:
        """Hash of everything that the result depends on: 32 hexadecimal digits."""
        if self.guard or self.backbone:  # an option of these could look like the stage's plugin
            return key_of(self.identity())
        return key_of(self._identity(None), self.plugin.canonical if self.plugin else "null")

    def identity(self) -> dict[str, Any]:
        """Return everything that the result depends on, as JSON values."""
        return self._identity(self.plugin.keyed if self.plugin else None)

    def _identity(self, plugin: Mapping[str, Any] | None) -> dict[str, Any]:
        return {
            "schema": KEY_SCHEMA,
            "kind": self.kind.value,
            "plugin": plugin,
            "seed": self.seed,
            "inputs": dict(self.inputs),
            "content": self.content,
            **({"guard": self.guard.keyed} if self.guard else {}),
            **({"backbone": self.backbone.keyed} if self.backbone else {}),
            **({"guard_backbone": self.guard_backbone.keyed} if self.guard_backbone else {}),
        }

    def to_json(self) -> dict[str, Any]:
        """Return JSON values; what only some stages have is left out where it is not there."""
        values: dict[str, Any] = {
            "kind": self.kind.value,
            "label": self.label,
            "plugin": self.plugin and self.plugin.to_json(),
            "seed": self.seed,
            "inputs": dict(self.inputs),
            "content": self.content,
            "given": {role: dict(options) for role, options in self.given.items()},
            "guard": self.guard and self.guard.to_json(),
            "backbone": self.backbone and self.backbone.to_json(),
            "guard_backbone": self.guard_backbone and self.guard_backbone.to_json(),
        }
        return {name: value for name, value in values.items() if value or name not in _OPTIONAL}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Stage:
        """Read what :meth:`to_json` returned; a KeyError, TypeError or ValueError if it did not."""
        whole = cls.with_identities(values)
        uses = {name: PluginUse(**use) for name in _USES if (use := whole.get(name))}
        return cls(**{**whole, **uses, "kind": StageKind(values["kind"])})

    @staticmethod
    def with_identities(values: Mapping[str, Any]) -> dict[str, Any]:
        """Return what :meth:`to_json` returned with the ``identity`` of each plugin."""
        uses = {name: use for name in _USES if (use := values.get(name))}
        whole = {name: {"identity": use["options"], **use} for name, use in uses.items()}
        return {**values, **whole}


#: Fields of a stage that are plugins.
_USES = ("plugin", "guard", "backbone", "guard_backbone")

#: Fields of a stage that its JSON object has only where they are not empty.
_OPTIONAL = ("label", "given", "guard", "backbone", "guard_backbone")


@dataclass(frozen=True, slots=True, order=True)
class CellName:
    """The position of a cell in the matrix: instance names and the seed.

    ``downstream`` is the dataset on which the encoder is evaluated where that is another than the
    dataset of its pretraining.
    """

    dataset: str
    attack: str
    method: str
    defense: str
    evaluator: str
    seed: int
    downstream: str = NONE

    @property
    def evaluated(self) -> str:
        """The dataset on which the encoder is evaluated."""
        return self.dataset if self.downstream == NONE else self.downstream

    @property
    def row(self) -> dict[str, str]:
        """The names without the seed, in the order of :class:`Axis`: what names a row."""
        return {axis.value: getattr(self, axis) for axis in Axis}


class Detection(NamedTuple):
    """Key of a stage by which a defense detects, and of the same on the control's encoder."""

    key: str
    control: str | None


@dataclass(frozen=True, slots=True)
class Cell:
    """One number of the leaderboard, and the stages that lead to it.

    Args:
        name: Its position in the matrix.
        path: Keys of its stages in an order in which they can run; the last one predicts.
        control: Key of the evaluation of the clean encoder under the same trigger; ``None`` for
            a cell without an attack.
        detections: The stages that score images or judge the encoder for the cell's defenses.
    """

    name: CellName
    path: tuple[str, ...]
    control: str | None
    detections: tuple[Detection, ...] = ()

    @property
    def evaluation(self) -> str:
        """Key of the stage that makes the cell's numbers."""
        return self.path[-1]

    @property
    def own(self) -> tuple[str, ...]:
        """Keys of the last stages of the cell itself: its evaluation and its detections."""
        return (self.evaluation, *(one.key for one in self.detections))

    @property
    def controls(self) -> tuple[str, ...]:
        """Keys of the last stages of its control."""
        found = (self.control, *(one.control for one in self.detections))
        return tuple(key for key in found if key is not None)


class Origin(NamedTuple):
    """The cell that made an encoder of a zoo, by the encoder's card.

    Args:
        name: Name of the encoder.
        method: SSL method that trained it.
        attack: Attack that gave it a backdoor; ``none`` of a clean encoder.
        seed: Seed of its training.
    """

    name: str
    method: str
    attack: str
    seed: int


@dataclass(frozen=True, slots=True)
class Plan:
    """A benchmark as a graph of stages, by key, each after those that it reads.

    The cells are in the matrix's order. ``protocol`` is the id of the protocol card, or empty.
    ``origins`` are those of the encoders of a zoo, by the key of the stage that imports them.
    """

    benchmark: str
    stages: Mapping[str, Stage]
    cells: tuple[Cell, ...]
    protocol: str = ""
    origins: Mapping[str, Origin] = field(default_factory=dict)

    def ancestors(self, *keys: str) -> tuple[str, ...]:
        """Return the keys of the stages that lead to some stages, each after those that it reads.

        The stages themselves are among them: of a single stage, it is the last.
        """
        found: dict[str, None] = {}
        opened: set[str] = set()
        waiting = list(reversed(keys))
        while waiting:
            last = waiting[-1]
            if last in opened:
                found[waiting.pop()] = None
                continue
            opened.add(last)
            read = self.stages[last].inputs.values()
            waiting += [one for one in read if one not in opened]
        return tuple(found)
