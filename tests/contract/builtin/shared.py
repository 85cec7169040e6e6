"""What the contracts of the built-in plugins share."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

from backbench.testing.base import installed


def record(kind: str, name: str) -> Any:
    return installed().find(kind, name).info


def needs(package: str) -> pytest.MarkDecorator:
    missing = importlib.util.find_spec(package) is None
    return pytest.mark.skipif(missing, reason=f"{package} is not installed")


#: A short training.
TINY = {
    "epochs": 2,
    "batch_size": 8,
    "backbone": {"name": "tiny-resnet", "widths": [4, 8], "strides": [1, 2], "stem_width": 4},
    "schedule": {"name": "constant", "milestones": [], "warmup_steps": 0, "warmup_epochs": 0},
    "precision": "fp32",
    "knn_evaluations": 1,
}
