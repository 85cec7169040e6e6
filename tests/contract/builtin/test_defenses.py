"""The conformance kit over every built-in defense."""

# ruff: noqa: RUF012 - options are written as a plugin author writes them

from __future__ import annotations

from backbench.testing import (
    DefenseContract,
    InputDefenseContract,
    ModelDefenseContract,
    TrainingDefenseContract,
)
from tests.contract.builtin.shared import TINY, record


class TestDistill(DefenseContract):
    info = record("defense", "distill")
    options = {name: TINY[name] for name in TINY if name != "backbone"} | {
        "clean_fraction": 0.5,
        "queue": 16,
    }


class TestPatchSearch(DefenseContract):
    info = record("defense", "patch-search")
    options = {
        "clusters": 4,
        "test_images": 8,
        "window": 8,
        "top": 3,
        "classifiers": 2,
        "steps": 3,
        "batch_size": 4,
        "patch_sizes": [4, 8],
        "backbone": TINY["backbone"],
    }


class TestPatchSearchWithoutClassifiers(DefenseContract):
    info = record("defense", "patch-search")
    options = TestPatchSearch.options | {"classifiers": 0, "window_by": "occlusion"}


class TestDecree(ModelDefenseContract):
    info = record("defense", "decree")
    options = {"clean_fraction": 0.5, "epochs": 3, "batch_size": 8}


class TestSSLCleanse(ModelDefenseContract):
    info = record("defense", "ssl-cleanse")
    options = {
        "clean_fraction": 1.0,
        "most_clusters": 4,
        "inversion_epochs": 1,
        "batch_size": 20,
        "epochs": 1,
    }


class TestSSLCleanseRepairs(DefenseContract):
    info = record("defense", "ssl-cleanse")
    options = TestSSLCleanse.options


class TestBackdoorIDS(InputDefenseContract):
    info = record("defense", "backdoor-ids")
    options = {"grid": 4, "steps": 5}


class TestDeDe(InputDefenseContract):
    info = record("defense", "dede")
    options = {"patch": 8, "width": 16, "depth": 1, "heads": 2, "epochs": 2, "draws": 2}


class TestFinePrune(DefenseContract):
    info = record("defense", "fine-prune")
    options = {name: TINY[name] for name in TINY if name != "backbone"} | {"clean_fraction": 0.5}


class TestCutMix(TrainingDefenseContract):
    info = record("defense", "cutmix")


class TestLocalizedCropping(TrainingDefenseContract):
    info = record("defense", "localized-cropping")
