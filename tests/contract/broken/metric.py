"""Metrics. This module must not import torch, as the module of a metric must not."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from backbench.plugin import MetricInfo
from backbench.testing import MetricContract
from tests.contract.broken import broken


def right(labels, clean, triggered, target, classes):
    """Return the share of images that the trigger moves."""
    return None if triggered is None else float((clean != triggered).mean())


class Kit(MetricContract):
    __test__ = False
    info = MetricInfo(name="moved", summary="M.", target=f"{__name__}:right", bounds=(0.0, 1.0))
    sample: Any = staticmethod(right)

    def __init__(self) -> None:
        self.info = replace(type(self).info, target=f"{__name__}:{self.sample.__name__}")


def harness(kit: Kit, folder: Path) -> None:
    """Read the metric of an evaluation of four images."""
    import io

    from backbench.model import StageKind
    from backbench.plugin.packages import Origin
    from backbench.plugin.registry import Registered
    from backbench.results.reader import Counting, reader
    from backbench.store.predictions import PREDICTIONS, write_predictions
    from tests.factories import record

    labels, clean, triggered = np.array([0, 1, 2, 0]), np.array([0, 1, 2, 0]), np.ones(4, int)
    tensors = {"labels": labels}
    for name, found in (("clean", clean), ("triggered", triggered)):
        tensors[f"{name}_scores"] = np.eye(3, dtype=np.float32)[found]
        tensors[f"{name}_predictions"] = found.astype(np.int32)
    folder.mkdir(parents=True, exist_ok=True)
    write_predictions(folder / PREDICTIONS, tensors)
    file = io.BytesIO((folder / PREDICTIONS).read_bytes())
    counting = Counting(metrics=(Registered(kit.info, Origin("broken", "", "")),))
    made = record("k" * 32, StageKind.PREDICT)
    reader(lambda _: made, lambda _: file, counting)("k" * 32, "")


_NUMBER, _PURE = "test_gives_a_finite_number_or_nothing", "test_is_a_pure_function"


@broken(_NUMBER, "nan")
def no_number(*_):
    """Return NaN where there is no attack, and otherwise too."""
    return float("nan")


@broken(_NUMBER, "inf")
def infinite(*_):
    """Return infinity."""
    return float("inf")


@broken(_NUMBER, "1.5")
def beyond_its_bounds(*_):
    """Return more than the record's bounds allow."""
    return 1.5


@broken(_NUMBER, "True")
def yes(*_):
    """Return a truth value."""
    return True


@broken(_NUMBER, "12 %")
def words(*_):
    """Return a number as a text."""
    return "12 %"


@broken(_NUMBER, "read-only")
def changes_labels(labels, *_):
    """Write to the labels."""
    labels[0] = 1
    return 0.0


@broken(_NUMBER, "raised TypeError|raised ZeroDivisionError")
def divides_by_zero(labels, clean, triggered, target, classes):
    """Divide by the number of images that no attack has changed."""
    return 1 / int((clean != clean).sum())  # noqa: PLR0124 - what is caught


@broken(_NUMBER)
def needs_an_attack(labels, clean, triggered, target, classes):
    """Raise where there is no attack."""
    return float((triggered[:] == clean).mean())


@broken(_NUMBER)
def needs_a_target(labels, clean, triggered, target, classes):
    """Raise where there is no target class."""
    return (target + 1) / (2 * classes)


@broken("test_the_order_of_images_does_not_matter")
def of_the_first(labels, clean, *_):
    """Count the first ten images alone."""
    return float((labels[:10] == clean[:10]).mean())


@broken(_PURE)
def drawn(*_):
    """Draw from NumPy's global generator."""
    return np.random.random()  # noqa: NPY002 - what is caught


@broken(_PURE)
def of_the_process(*_):
    """Follow from the process id."""
    return os.getpid() % 101 / 101


@broken("test_no_target_is_no_class_without_predictions")
def compares_with_none(labels, clean, triggered, target, classes):
    """Count the images that are predicted as the target, which may be None."""
    return None if triggered is None else float((triggered == target).mean())


@broken("test_no_target_is_no_class_without_predictions")
def of_the_others(labels, clean, triggered, target, classes):
    """Count the images of other classes that are moved to the target, which may be None."""
    return None if triggered is None else float((triggered[labels != target] == target).mean())


_CALLS: list[int] = []


@broken(_PURE)
def of_its_calls(*_):
    """Follow from how often it was called."""
    _CALLS.append(1)
    return len(_CALLS) % 7 / 7


@broken("test_target_is_a_class_of_its_kind")
class NoFunction:
    """A class where a function is expected."""
