"""Checks of what plugins return: arrays of the right shape, of finite numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from backbench.errors import BackbenchError, ResultError, is_name
from backbench.plugin.calling import is_finite, kind_of
from backbench.plugin.reporting import REPORTED_NAME
from backbench.system.json_text import to_json

#: Most numbers that a plugin reports of a stage.
MOST_REPORTED = 100

#: Name of the metadata in a safetensors file: no array in one has it.
RESERVED: Final = "__metadata__"


def checked_scores(scores: object, shape: tuple[int, ...], who: str) -> NDArray[Any]:
    """Return scores as an array.

    Args:
        scores: What a plugin gave.
        shape: Images, or images and classes.
        who: The plugin, for the error.

    Raises:
        ResultError: If they are of another shape, no real numbers, or not finite.
    """
    array = array_of(scores, who, "scores")
    if array.shape != shape:
        of_classes = f" and {shape[1]} classes" if len(shape) > 1 else ""
        raise ResultError(
            f"{who} gave scores of shape {array.shape} for {shape[0]} images{of_classes}: it must "
            f"be {shape}"
        )
    finite = np.isfinite(array).reshape(shape[0], -1).all(axis=1)
    if not finite.all():
        raise ResultError(
            f"{who} gave scores that are not finite for {np.count_nonzero(~finite)} of {shape[0]} "
            f"images, the first of them image {int(finite.argmin())}"
        )
    return array


def checked_state(state: object, who: str) -> dict[str, NDArray[Any]]:
    """Return the arrays of a fitted classifier, as they are stored.

    Raises:
        ResultError: If it is no mapping, a name cannot be stored, or an array is no finite numbers.
    """
    arrays = {
        name: array_of(one, who, f"the array {name!r}").copy("C")
        for name, one in named(state, who, "state").items()
    }
    wrong = [name for name, one in arrays.items() if not np.isfinite(one).all()]
    if wrong:
        raise ResultError(f"{who} learned numbers that are not finite: {', '.join(wrong)}")
    return arrays


def checked_report(report: object, who: str) -> dict[str, float]:
    """Return the numbers of a plugin's own, as they are stored.

    Raises:
        ResultError: If they are no finite numbers by name, or too many.
    """
    if not isinstance(report, Mapping) or len(report) > MOST_REPORTED:
        raise ResultError(f"{who} must report at most {MOST_REPORTED} numbers by name")
    found = {}
    for name, value in report.items():
        if not isinstance(name, str) or not REPORTED_NAME.fullmatch(name):
            raise ResultError(
                f"{who} reports a number called {name!r}: use letters, digits and any of . = + - _"
            )
        if not is_finite(value):
            shown = " ".join(repr(value)[:80].split())
            raise ResultError(f"{who} reports {name} = {shown}: it must be a finite number")
        found[name] = float(value)
    return found


def checked_selection(selection: object, who: str) -> dict[str, Any]:
    """Return what an evaluator has selected: values that JSON can hold."""
    found = named(selection, who, "selection")
    try:
        to_json(found, f"the selection of {who}")
    except BackbenchError as error:
        raise ResultError(str(error)) from error
    return found


def rounded(scores: NDArray[Any]) -> NDArray[np.floating[Any]]:
    """Return scores as float16, or as a longer type where one comes near the end of its range.

    Of scores that become equal, the one that was the highest of its row, (N, C), is moved up to the
    next number, so that the stored scores predict the same classes.
    """
    greatest = np.abs(scores.astype(np.float64)).max(initial=0)
    kinds = (np.float16, np.float32)
    kind = next((kind for kind in kinds if greatest < np.finfo(kind).max / 2), np.float64)
    predicted = scores.argmax(axis=1)
    found: NDArray[np.floating[Any]] = scores.astype(kind)
    moved = np.flatnonzero(found.argmax(axis=1) != predicted)
    found[moved, predicted[moved]] = np.nextafter(found[moved].max(axis=1), kind(np.inf))
    return found


def named(values: object, who: str, what: str) -> dict[str, object]:
    """Return arrays or numbers by name, as a plugin gave them.

    Args:
        values: What the plugin gave.
        who: The plugin, for the error.
        what: What the values are, for the error: ``state``.

    Raises:
        ResultError: If they are no mapping, or a name is none that every file can hold.
    """
    if not isinstance(values, Mapping):
        raise ResultError(f"{who} gave as {what} {kind_of(values)}: it must be by name")
    wrong = [name for name in values if not is_name(name) or name == RESERVED]
    if wrong:
        raise ResultError(
            f"{who} gave {what} of the name {wrong[0]!a}: a name is printable text of at most 255 "
            f"characters, and not {RESERVED!r}"
        )
    return dict(values)


def array_of(value: object, who: str, what: str) -> NDArray[Any]:
    """Return real numbers as an array, of a type that every machine and every file has.

    Raises:
        ResultError: If they are no array, some are masked, or their type is of no real numbers.
    """
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ResultError(f"{who} gave {what} of which no array can be made: {error}") from error
    if np.ma.is_masked(value):
        raise ResultError(f"{who} gave {what} of which some are masked: each must be a number")
    if array.dtype.kind not in "biuf":
        raise ResultError(f"{who} gave {what} of type {array.dtype}: it must be real numbers")
    return narrowed(array, np.float64) if array.dtype == np.longdouble else array


def narrowed(array: NDArray[Any], dtype: type[np.floating[Any]]) -> NDArray[Any]:
    """Return an array of another type, infinite where that cannot hold a number."""
    with np.errstate(over="ignore"):
        return array.astype(dtype)
