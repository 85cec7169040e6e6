"""Everything that the author of a plugin imports.

A plugin is an installed distribution with an entry point in the group ``backbench``, and at least
two modules. The entry point names the first one, which announces what is there. Every command
imports it, so it must not import torch. The second one holds the class that does the work, and is
imported when a stage needs it::

    # pyproject.toml
    [project.entry-points.backbench]
    my-plugin = "my_plugin"

    # my_plugin/__init__.py
    from backbench.plugin import AttackInfo, hookimpl

    @hookimpl
    def register_attacks():
        yield AttackInfo(name="disc", summary="A disc.", target="my_plugin.disc:Disc")

    # my_plugin/disc.py
    from backbench.plugin import Attack

    class Disc(Attack):
        ...

:class:`BackbenchHooks` has an example of each hook for ``my_plugin/__init__.py``, and each base
class an example of the module that such a hook names. The tests run all of them.

What only the second module needs is imported at first use: importing this package imports neither
NumPy nor torch, and every command is fast.
"""

from typing import TYPE_CHECKING

from pydantic import Field

from backbench.errors import DataError, StageError
from backbench.model import Stage
from backbench.options.backbones import BackboneOptions
from backbench.options.base import (
    DatasetMetadata,
    DatasetName,
    ExcludeDefaultFromKey,
    ExcludeFromKey,
    ImagesPath,
    JPEGOptions,
    LocalPath,
    Options,
    Split,
    count_of,
    refuse_unread,
)
from backbench.options.optimizer import OptimizerOptions, ScheduleOptions
from backbench.options.training import (
    CleanTrainingOptions,
    EvaluatorOptions,
    GuardOptions,
    SSLOptions,
    TrainingOptions,
    TwoViewOptions,
    ViewTrainingOptions,
)
from backbench.options.views import ViewOptions
from backbench.plugin.infos import (
    API,
    AttackInfo,
    BackboneInfo,
    Citation,
    Column,
    DatasetInfo,
    DefenseInfo,
    EvaluatorInfo,
    ExecutorInfo,
    MetricInfo,
    ObserverInfo,
    PluginInfo,
    Predicted,
    SSLMethodInfo,
    hookimpl,
    presets_of,
)
from backbench.plugin.suggestions import suggestion
from backbench.seeds import derive
from backbench.system.files import read_failure, read_text

__all__ = [
    "API",
    "ArrayImages",
    "Attack",
    "AttackContext",
    "AttackInfo",
    "BackbenchHooks",
    "BackboneInfo",
    "BackboneNetwork",
    "BackboneOptions",
    "Batch",
    "Box",
    "CheckpointFile",
    "Citation",
    "CleanImages",
    "CleanTrainingOptions",
    "Column",
    "DataError",
    "Dataset",
    "DatasetInfo",
    "DatasetMetadata",
    "DatasetName",
    "Defense",
    "DefenseContext",
    "DefenseInfo",
    "Encoder",
    "EvaluationContext",
    "Evaluator",
    "EvaluatorInfo",
    "EvaluatorOptions",
    "ExcludeDefaultFromKey",
    "ExcludeFromKey",
    "Executor",
    "ExecutorInfo",
    "Field",
    "Finished",
    "GuardOptions",
    "ImageEvaluator",
    "ImageSet",
    "ImagesPath",
    "JPEGOptions",
    "Labels",
    "LocalPath",
    "MetricInfo",
    "Observer",
    "ObserverInfo",
    "OptimizerOptions",
    "Options",
    "Part",
    "Pixels",
    "PluginInfo",
    "PoisonContext",
    "Predicted",
    "Progress",
    "Progressed",
    "Recipe",
    "ResultsReady",
    "RunFinished",
    "RunStarted",
    "SSLMethod",
    "SSLMethodInfo",
    "SSLOptions",
    "ScheduleOptions",
    "Scores",
    "Setup",
    "Signal",
    "Split",
    "Stage",
    "StageError",
    "StageFailed",
    "StageFinished",
    "StageProgress",
    "StageStarted",
    "Stamp",
    "Subset",
    "TrainingContext",
    "TrainingOptions",
    "TrainingRun",
    "TrainingTask",
    "TwoViewMethod",
    "TwoViewOptions",
    "Verdict",
    "ViewOptions",
    "ViewTrainingOptions",
    "count_of",
    "decode",
    "derive",
    "evaluation_batch",
    "evaluation_image",
    "extract",
    "hookimpl",
    "open_image",
    "presets_of",
    "random_view",
    "read_failure",
    "read_text",
    "refuse_unread",
    "selection_split",
    "suggestion",
    "train",
    "with_margin",
]

if TYPE_CHECKING:
    from backbench.data.decode import decode, open_image
    from backbench.data.preprocess import evaluation_image, with_margin
    from backbench.images import ArrayImages, ImageSet, Labels, Pixels, Subset
    from backbench.metrics import Scores
    from backbench.nn import (
        BackboneNetwork,
        Batch,
        Encoder,
        Progress,
        SSLMethod,
        TrainingContext,
        TrainingTask,
    )
    from backbench.plugin.attack import Attack, AttackContext, Box, Stamp
    from backbench.plugin.checkpoint import CheckpointFile
    from backbench.plugin.dataset import Dataset
    from backbench.plugin.defense import CleanImages, Defense, DefenseContext, Verdict
    from backbench.plugin.evaluator import EvaluationContext, Evaluator, ImageEvaluator
    from backbench.plugin.events import (
        ResultsReady,
        RunFinished,
        RunStarted,
        StageFailed,
        StageFinished,
        StageProgress,
        StageStarted,
    )
    from backbench.plugin.executor import Executor, Finished, Progressed, Setup, Signal
    from backbench.plugin.hookspecs import BackbenchHooks
    from backbench.plugin.observer import Observer
    from backbench.plugin.recipes import Part, PoisonContext, Recipe
    from backbench.plugin.selection import selection_split
    from backbench.training.extraction import evaluation_batch, extract
    from backbench.training.loop import TrainingRun, train
    from backbench.views.method import TwoViewMethod
    from backbench.views.views import random_view
else:
    #: Modules with what the module of an entry point does not need.
    _LATE = {
        "backbench.data.decode": ("decode", "open_image"),
        "backbench.data.preprocess": ("evaluation_image", "with_margin"),
        "backbench.images": ("ArrayImages", "ImageSet", "Labels", "Pixels", "Subset"),
        "backbench.metrics": ("Scores",),
        "backbench.nn": (
            *("BackboneNetwork", "Batch", "Encoder", "Progress", "SSLMethod"),
            *("TrainingContext", "TrainingTask"),
        ),
        "backbench.plugin.attack": ("Attack", "AttackContext", "Box", "Stamp"),
        "backbench.plugin.checkpoint": ("CheckpointFile",),
        "backbench.plugin.dataset": ("Dataset",),
        "backbench.plugin.defense": ("CleanImages", "Defense", "DefenseContext", "Verdict"),
        "backbench.plugin.evaluator": ("EvaluationContext", "Evaluator", "ImageEvaluator"),
        "backbench.plugin.events": (
            *("ResultsReady", "RunFinished", "RunStarted"),
            *("StageFailed", "StageFinished", "StageProgress", "StageStarted"),
        ),
        "backbench.plugin.executor": ("Executor", "Finished", "Progressed", "Setup", "Signal"),
        "backbench.plugin.hookspecs": ("BackbenchHooks",),
        "backbench.plugin.observer": ("Observer",),
        "backbench.plugin.recipes": ("Part", "PoisonContext", "Recipe"),
        "backbench.plugin.selection": ("selection_split",),
        "backbench.training.extraction": ("evaluation_batch", "extract"),
        "backbench.training.loop": ("TrainingRun", "train"),
        "backbench.views.method": ("TwoViewMethod",),
        "backbench.views.views": ("random_view",),
    }
    _MODULES = {name: module for module, names in _LATE.items() for name in names}

    def __getattr__(name: str) -> object:
        """Import what only an implementation needs when it is first used (PEP 562)."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        return getattr(import_module(_MODULES[name]), name)
