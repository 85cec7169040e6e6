"""Announce the evaluator. Every command imports this module: do not import torch here."""

from __future__ import annotations

from collections.abc import Iterable

from backbench.plugin import EvaluatorInfo, Field, Options, hookimpl


class MyEvaluatorOptions(Options):
    """Options of the evaluator, as a benchmark file gives them."""

    center: bool = Field(default=True, description="subtract the mean feature of the training set")


EVALUATOR = EvaluatorInfo(
    name="my-evaluator",
    summary="Predicts the class whose mean feature has the nearest direction.",
    target="my_evaluator.evaluator:MyEvaluator",
    options=MyEvaluatorOptions,
)


@hookimpl
def register_evaluators() -> Iterable[EvaluatorInfo]:
    """Announce the evaluator."""
    yield EVALUATOR
