"""The conformance kit over every built-in evaluator."""

# ruff: noqa: RUF012 - options are written as a plugin author writes them

from __future__ import annotations

from backbench.testing import EvaluatorContract, ImageEvaluatorContract
from tests.contract.builtin.shared import record


class TestLinear(EvaluatorContract):
    info = record("evaluator", "linear")
    options = {"label_fraction": 0.5}


class TestLinearOfSeveralPenalties(EvaluatorContract):
    info = record("evaluator", "linear")
    options = {"label_fraction": 0.5, "penalty": [1e-4, 1e-2]}


class TestLinearSGD(EvaluatorContract):
    info = record("evaluator", "linear")
    options = {"solver": "sgd", "label_fraction": 1.0, "batch_size": 8}


class TestLinearRaw(EvaluatorContract):
    info = record("evaluator", "linear-raw")
    options = {"label_fraction": 1.0, "batch_size": 40, "lr": 0.1}


class TestKNN(EvaluatorContract):
    info = record("evaluator", "knn")
    options = {"k": 5}


class TestKNNOfSeveral(EvaluatorContract):
    info = record("evaluator", "knn")
    options = {"k": [1, 5]}


FEW = {"label_fraction": 1.0, "batch_size": 13, "lr": 0.1, "epochs": 12, "milestones": [8, 10]}
MORE = {"epochs": 25, "milestones": [15, 20]}


class TestLinearAugmented(ImageEvaluatorContract):
    info = record("evaluator", "linear-augmented")
    options = FEW


class TestLinearCached(ImageEvaluatorContract):
    info = record("evaluator", "linear-cached")
    options = FEW | {"views": 3}


class TestFineTune(ImageEvaluatorContract):
    info = record("evaluator", "fine-tune")
    options = {"label_fraction": 1.0, "batch_size": 13, "epochs": 4, "precision": "fp32"}


class TestJigsawProbe(ImageEvaluatorContract):
    info = record("evaluator", "layer-probe")
    options = FEW | MORE | {"pool": [2, 2, 1]}


class TestRotNetProbe(ImageEvaluatorContract):
    info = record("evaluator", "layer-probe")
    options = info.presets["saha2022-rotnet"] | FEW | MORE | {"pool": [2, 1]}
