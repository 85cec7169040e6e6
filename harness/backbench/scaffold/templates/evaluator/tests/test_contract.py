"""The conformance kit over the evaluator: ``python -m pytest``."""

from backbench.testing import EvaluatorContract

from my_evaluator import EVALUATOR


class TestMyEvaluator(EvaluatorContract):
    """Fits and predicts features of three classes."""

    info = EVALUATOR
    options = {"center": False}  # noqa: RUF012 - a constant
