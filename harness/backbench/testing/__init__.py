"""The plugin conformance kit: subclass a contract in a test file, name your record, run pytest.

::

    from backbench.testing import AttackContract
    from my_package import CHECKER


    class TestChecker(AttackContract):
        info = CHECKER
        options = {"target": "bee"}  # small settings that fit `metadata`

The tests are the promises of :mod:`backbench.plugin` and :mod:`backbench.nn`; a test that fails
ends in a sentence on what to do. They run on a CPU in seconds, and need pytest, which backbench
itself does not.
"""

from backbench.testing.attack import AttackContract
from backbench.testing.backbone import BackboneContract
from backbench.testing.base import PluginContract
from backbench.testing.dataset import DatasetContract
from backbench.testing.defense import DefenseContract, ModelDefenseContract
from backbench.testing.detector import InputDefenseContract
from backbench.testing.encoder_attack import EncoderAttackContract
from backbench.testing.evaluator import EvaluatorContract, ImageEvaluatorContract
from backbench.testing.executor import ExecutorContract
from backbench.testing.hooks import (
    ColumnContract,
    CommandContract,
    NamedObserverContract,
    ObserverContract,
)
from backbench.testing.learning_attack import LearningAttackContract
from backbench.testing.metric import MetricContract
from backbench.testing.samples import METADATA
from backbench.testing.ssl_method import SSLMethodContract
from backbench.testing.training_defense import TrainingDefenseContract

__all__ = [
    "METADATA",
    "AttackContract",
    "BackboneContract",
    "ColumnContract",
    "CommandContract",
    "DatasetContract",
    "DefenseContract",
    "EncoderAttackContract",
    "EvaluatorContract",
    "ExecutorContract",
    "ImageEvaluatorContract",
    "InputDefenseContract",
    "LearningAttackContract",
    "MetricContract",
    "ModelDefenseContract",
    "NamedObserverContract",
    "ObserverContract",
    "PluginContract",
    "SSLMethodContract",
    "TrainingDefenseContract",
]
