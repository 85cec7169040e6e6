"""Info records: what a plugin states of itself before its implementation is imported."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, get_args

import pluggy

from backbench.options.base import Options

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: What an attack can act on.
AttackShape = Literal["dataset", "encoder"]

#: What a defense can act on.
DefenseShape = Literal["training", "dataset", "model", "encoder", "input"]

#: Its values in the order in which the defenses of a cell act.
DEFENSE_SHAPES: tuple[DefenseShape, ...] = get_args(DefenseShape)

#: Version of the plugin interface; a record made for another version is refused.
API = 1

#: Marks a function of yours as the implementation of the hook of that name.
hookimpl = pluggy.HookimplMarker("backbench")

_SHARE, _COUNT = (0.0, 1.0), (0.0, math.inf)

#: Every metric of backbench's own, a name that no plugin's can have, with the least and the
#: greatest value.
OWN_METRICS: Mapping[str, tuple[float, float]] = {
    "accuracy/clean": _SHARE,
    "accuracy/triggered": _SHARE,
    "target_tp/clean": _COUNT,
    "target_tp/triggered": _COUNT,
    "target_fp/clean": _COUNT,
    "target_fp/triggered": _COUNT,
    "asr": _SHARE,
    "detector/auroc": _SHARE,
    "detector/auprc": _SHARE,
    "detector/tpr_at_1pct_fpr": _SHARE,
    "detector/tpr": _SHARE,
    "detector/fpr": _SHARE,
    "detector/accuracy_passed": _SHARE,
    "detector/asr_passed": _SHARE,
    "detector/asr_left": _SHARE,
    "detector/seconds": _COUNT,
}


@dataclass(frozen=True, slots=True)
class Citation:
    """The publication of a method."""

    authors: str
    title: str
    venue: str
    year: int
    url: str = ""

    def __str__(self) -> str:
        return f"{self.authors}. {self.title}. {self.venue} {self.year}."


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the leaderboard.

    Args:
        metric: Name of the metric that evaluation records carry, ``asr`` or ``accuracy/clean``.
        title: Heading.
        best: Which end is best for a defender; ``None`` where neither is.
        decimals: Digits after the point: 3 for a fraction, 0 for a count.
        control: Show the control's value beside it.
        bounds: The least and the greatest value it can have; ``None`` where it has none, or the
            harness knows.
        usual: Show it without ``--metric`` as well.
    """

    metric: str
    title: str
    best: Literal["high", "low"] | None = None
    decimals: int = 3
    control: bool = False
    bounds: tuple[float, float] | None = None
    usual: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginInfo:
    """Fields that every info record has.

    Args:
        name: Kebab-case, unique among the records of one kind.
        summary: One sentence.
        target: ``module:Class`` of the implementation, imported when a stage needs it; of a metric
            ``module:function``.
        options: The options' model.
        paper: Where the method comes from.
        revision: Raise it when numbers change: stages made by an older revision are redone.
        api: The value of :data:`API` that the plugin was written for.
        presets: Named option values; a benchmark file picks one with ``preset = "name"``.
    """

    kind: ClassVar[str]

    name: str
    summary: str
    target: str
    options: type[Options] = Options
    paper: Citation | None = None
    revision: int = 1
    api: int = API
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackInfo(PluginInfo):
    """Announces an :class:`Attack`.

    Args:
        acts_on: ``dataset`` if :meth:`Attack.choose` poisons training images; ``encoder`` if
            :meth:`Attack.implant` changes a clean encoder and no image is poisoned.
        learns: Whether :meth:`Attack.fit` learns the trigger: in a stage of its own, once for each
            attack, dataset and seed; :meth:`Attack.state` is stored.
        coding: The coding of image files that the trigger survives: ``png`` if JPEG erases it, as
            a pattern in the colors, which JPEG stores at half the resolution. The files of
            ``backbench poison`` have it unless another is requested.
        reads_encoder: Whether :meth:`Attack.recipes` may ask for the features of the training
            images under a clean encoder of the cell's method: its poison is made once for each
            method.
    """

    kind: ClassVar[str] = "attack"

    acts_on: AttackShape = "dataset"
    learns: bool = False
    coding: Literal["jpeg", "png"] = "jpeg"
    reads_encoder: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SSLMethodInfo(PluginInfo):
    """Announces a :class:`~backbench.plugin.SSLMethod`.

    Args:
        passes: How often an image goes forward through a network at each step of the training:
            for two views through two networks, 4. ``plan`` computes the cost of a training from it.
    """

    kind: ClassVar[str] = "ssl-method"

    passes: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class BackboneInfo(PluginInfo):
    """Announces a :class:`~backbench.plugin.BackboneNetwork`: ``backbone.name = "NAME"``.

    Its options are what ``backbone.arguments`` takes. None of them can be a path: the weights of
    a backbone are fresh.
    """

    kind: ClassVar[str] = "backbone"


@dataclass(frozen=True, slots=True, kw_only=True)
class DefenseInfo(PluginInfo):
    """Announces a :class:`Defense`.

    Args:
        acts_on: ``encoder`` if :meth:`Defense.repair` gives a new encoder; ``dataset`` if
            :meth:`Defense.sanitize` drops training images and the encoder is trained again;
            ``training`` if :meth:`Defense.guard` wraps the method that trains the encoder;
            ``model`` if :meth:`Defense.inspect` returns a verdict on the encoder; ``input`` if
            :meth:`Defense.score` finds triggered images at test time. Several of them if it does
            several.
        learns: Whether a defense on the input learns first, from clean images:
            :meth:`Defense.fit`, once for all triggers.
        passes: As in :class:`SSLMethodInfo`, of a defense that trains. Of a defense of the training
            a factor: how often it does what the method does once.
    """

    kind: ClassVar[str] = "defense"

    acts_on: DefenseShape | tuple[DefenseShape, ...]
    learns: bool = False
    passes: int = 1

    @property
    def shapes(self) -> tuple[DefenseShape, ...]:
        """The things that it acts on, in the order of a cell's path."""
        acts_on = (self.acts_on,) if isinstance(self.acts_on, str) else self.acts_on
        return tuple(shape for shape in DEFENSE_SHAPES if shape in acts_on)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatorInfo(PluginInfo):
    """Announces an :class:`Evaluator` or an :class:`ImageEvaluator`.

    Args:
        reads: ``features`` if the class is an :class:`Evaluator`, on features that are computed
            once for all evaluators; ``images`` if it is an :class:`ImageEvaluator`, which sees the
            images and runs the encoder itself.
    """

    kind: ClassVar[str] = "evaluator"

    reads: Literal["features", "images"] = "features"


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetInfo(PluginInfo):
    """Announces a :class:`Dataset`. Its module must not import torch at module level."""

    kind: ClassVar[str] = "dataset"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorInfo(PluginInfo):
    """Announces a :class:`~backbench.plugin.Executor`.

    Args:
        requires: Packages that its module imports, each with what pip installs for it:
            ``{"submitit": "backbench[slurm]"}``. A run that uses the executor stops with one
            sentence where a package is missing.
    """

    kind: ClassVar[str] = "executor"

    requires: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObserverInfo(PluginInfo):
    """Announces an :class:`~backbench.plugin.Observer`.

    Args:
        requires: Packages that its module imports, each with what pip installs for it:
            ``{"wandb": "backbench[wandb]"}``. A run that names the observer stops with one
            sentence where a package is missing.
    """

    kind: ClassVar[str] = "observer"

    requires: Mapping[str, str] = field(default_factory=dict)


class Predicted(NamedTuple):
    """Predictions of a row: without and with the trigger, each (N,) int64, read-only.

    ``triggered`` is ``None`` without an attack.
    """

    clean: NDArray[np.int64]
    triggered: NDArray[np.int64] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricInfo(PluginInfo):
    """Announces a metric that is computed from stored predictions: ``show --metric NAME``.

    Its target is a pure function ``(labels, clean, triggered, target, classes)``: true classes and
    predictions without and with the trigger, each (N,) int64, ``triggered`` being ``None`` without
    an attack; the index of the target class, ``None`` where there is none; the number of classes.
    It returns a finite number, or ``None`` where the metric has no meaning. Its module must not
    import torch.

    Args:
        reads: What the function reads besides. ``scores``: ``clean`` and ``triggered`` are the
            scores of each class, (N, classes) float32. ``pairs``: in their
            place are the :class:`Predicted` of a row with a defense, and those of the same row
            without it; the metric has no value for other rows.
        title: Heading of the column; the name, if it is not given.
        best: As of a :class:`Column`, and so are ``decimals`` and ``control``.
        bounds: The least and the greatest value it can have, (0, 1) for a share: no interval leaves
            them; ``None`` where it has none.
        usual: As of a :class:`Column`.
    """

    kind: ClassVar[str] = "metric"

    reads: Literal["predictions", "scores", "pairs"] = "predictions"
    title: str = ""
    best: Literal["high", "low"] | None = None
    decimals: int = 3
    control: bool = False
    bounds: tuple[float, float] | None = None
    usual: bool = True

    @property
    def column(self) -> Column:
        """The metric's column of the leaderboard."""
        title = self.title or self.name
        return Column(
            self.name, title, self.best, self.decimals, self.control, self.bounds, self.usual
        )


#: The info records of each kind of plugin. The hook of ``attack`` is ``register_attacks``.
KINDS: dict[str, type[PluginInfo]] = {
    DatasetInfo.kind: DatasetInfo,
    AttackInfo.kind: AttackInfo,
    BackboneInfo.kind: BackboneInfo,
    SSLMethodInfo.kind: SSLMethodInfo,
    DefenseInfo.kind: DefenseInfo,
    EvaluatorInfo.kind: EvaluatorInfo,
    ExecutorInfo.kind: ExecutorInfo,
    ObserverInfo.kind: ObserverInfo,
    MetricInfo.kind: MetricInfo,
}


def presets_of(package: str, plugin: str) -> dict[str, dict[str, Any]]:
    """Return a plugin's presets: the TOML files ``presets/<preset>/<plugin>.toml`` of a package."""
    folders = sorted(resources.files(package).joinpath("presets").iterdir(), key=str)
    files = {folder.name: folder.joinpath(f"{plugin}.toml") for folder in folders}
    return {
        preset: tomllib.loads(file.read_text(encoding="utf-8"))
        for preset, file in files.items()
        if file.is_file()
    }
