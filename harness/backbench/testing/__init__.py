"""The plugin conformance kit: subclass a contract in a test file, name your record, run pytest.

::

    from backbench.testing import AttackContract
    from my_package import CHECKER


    class TestChecker(AttackContract):
        info = CHECKER
        options = {"target": "bee"}  # small settings that fit `metadata`

The tests are the promises of :mod:`backbench.plugin` and :mod:`backbench.nn`. They run on a CPU
in seconds, and need pytest, which backbench itself does not.
"""

import pytest

_MODULES = ["attack", "base", "dataset", "defense", "evaluator", "hygiene", "metric", "ssl_method"]
pytest.register_assert_rewrite(*(f"{__name__}.{module}" for module in _MODULES))

from backbench.testing.attack import (  # noqa: E402 - its asserts are rewritten
    AttackContract,
    EncoderAttackContract,
    LearningAttackContract,
)
from backbench.testing.base import METADATA, PluginContract  # noqa: E402
from backbench.testing.dataset import DatasetContract  # noqa: E402
from backbench.testing.defense import DefenseContract  # noqa: E402
from backbench.testing.evaluator import EvaluatorContract, ImageEvaluatorContract  # noqa: E402
from backbench.testing.metric import MetricContract  # noqa: E402
from backbench.testing.ssl_method import SSLMethodContract  # noqa: E402

__all__ = [
    "METADATA",
    "AttackContract",
    "DatasetContract",
    "DefenseContract",
    "EncoderAttackContract",
    "EvaluatorContract",
    "ImageEvaluatorContract",
    "LearningAttackContract",
    "MetricContract",
    "PluginContract",
    "SSLMethodContract",
]
