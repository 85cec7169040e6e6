"""What a plugin is: light records that say *who is there*, and classes that do the work.

A plugin package implements the hooks of :mod:`backbench.plugin.hookspecs`. Each hook returns info
records; the class that a record points at is imported when a stage needs it, so that a
package's entry-point module stays free of torch::

    from collections.abc import Iterable

    from backbench.plugin import AttackInfo, Field, Options, hookimpl


    class CheckerOptions(Options):
        target: str = Field(description="class that the trigger shall stand for")


    @hookimpl
    def register_attacks() -> Iterable[AttackInfo]:
        yield AttackInfo(
            name="checker",
            summary="A checkerboard on some images of one class.",
            target="my_package.checker:Checker",
            options=CheckerOptions,
        )
"""

from backbench.options.base import DatasetMetadata, ExcludeFromKey, Field, LocalPath, Options, Split
from backbench.plugin.classes import (
    Attack,
    Box,
    CleanImages,
    Dataset,
    Defense,
    DefenseContext,
    EvaluationContext,
    Evaluator,
    ImageEvaluator,
    Scores,
    Stamp,
)
from backbench.plugin.infos import (
    API,
    AttackInfo,
    Citation,
    Column,
    DatasetInfo,
    DefenseInfo,
    EvaluatorInfo,
    ExecutorInfo,
    MetricInfo,
    PluginInfo,
    SSLMethodInfo,
    hookimpl,
    presets_of,
)
from backbench.plugin.selection import selection_split

__all__ = [
    "API",
    "Attack",
    "AttackInfo",
    "Box",
    "Citation",
    "CleanImages",
    "Column",
    "Dataset",
    "DatasetInfo",
    "DatasetMetadata",
    "Defense",
    "DefenseContext",
    "DefenseInfo",
    "EvaluationContext",
    "Evaluator",
    "EvaluatorInfo",
    "ExcludeFromKey",
    "ExecutorInfo",
    "Field",
    "ImageEvaluator",
    "LocalPath",
    "MetricInfo",
    "Options",
    "PluginInfo",
    "SSLMethodInfo",
    "Scores",
    "Split",
    "Stamp",
    "hookimpl",
    "presets_of",
    "selection_split",
]
