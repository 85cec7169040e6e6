"""Verdicts on encoders: checked when a defense returns them, and read by its repair."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, load_file, save_file

from backbench.errors import ResultError
from backbench.plugin import Verdict
from backbench.plugin.calling import kind_of
from backbench.stages.scores import array_of, named, narrowed
from backbench.system.json_text import from_json, to_json

#: Most bytes of a verdict's evidence: bundles carry it.
MOST_EVIDENCE: Final = 2**26

#: Files of the artifact: score and numbers; the evidence, where there is some.
VERDICT, EVIDENCE = "verdict.json", "evidence.safetensors"


def checked_verdict(verdict: object, who: str) -> Verdict:
    """Return a verdict as it is stored.

    Args:
        verdict: What a plugin gave.
        who: The plugin, for the error.

    Returns:
        The same with plain numbers, and with evidence that is uint8 or float32.

    Raises:
        ResultError: If it is no verdict, a number of it is not finite, or its evidence is too
            large.
    """
    if not isinstance(verdict, Verdict):
        raise ResultError(f"{who} gave {kind_of(verdict)}, not a Verdict")
    numbers = {"score": verdict.score, **_named(verdict.numbers, who, "numbers")}
    found = {name: _number(value, who, name) for name, value in numbers.items()}
    evidence = {
        name: _evidence(array, who, name)
        for name, array in _named(verdict.evidence, who, "evidence").items()
    }
    if (size := sum(one.nbytes for one in evidence.values())) > MOST_EVIDENCE:
        raise ResultError(
            f"{who} gave evidence of {size:,} bytes, and {MOST_EVIDENCE:,} at most are kept: give "
            "fewer or smaller arrays"
        )
    return Verdict(found.pop("score"), evidence, found)


def write_verdict(folder: Path, verdict: Verdict) -> None:
    """Write a checked verdict into the folder of an artifact."""
    content = {"score": verdict.score, "numbers": dict(verdict.numbers)}
    (folder / VERDICT).write_text(to_json(content, indent=2) + "\n", encoding="utf-8")
    if verdict.evidence:
        save_file(dict(verdict.evidence), folder / EVIDENCE)


def read_verdict(folder: Path) -> Verdict:
    """Read what :func:`write_verdict` has written; the arrays are read-only."""
    content = from_json((folder / VERDICT).read_text(encoding="utf-8"))
    path = folder / EVIDENCE
    evidence = load_file(path) if path.is_file() else {}
    for array in evidence.values():
        array.flags.writeable = False
    return Verdict(content["score"], evidence, content["numbers"])


def evidence_problem(content: bytes) -> str | None:
    """Return why a file is not what :func:`write_verdict` writes as evidence; ``None`` if it is."""
    try:
        arrays = load(content)
    except SafetensorError as error:
        return f"cannot be read: {error}"
    for name, array in arrays.items():
        if array.dtype not in {np.dtype(np.float32), np.dtype(np.uint8)}:
            return f"has an array {name!a} of {array.dtype}, not of float32 or uint8"
        if not np.isfinite(array).all():
            return f"has an array {name!a} that is not finite"
    return None


def _named(values: object, who: str, what: str) -> dict[str, object]:
    """Return values by name; ``score`` is the name of the verdict's own."""
    if "score" in (found := named(values, who, what)):
        raise ResultError(f"{who} gave {what} of the name 'score': give them another name")
    return found


def _number(value: object, who: str, name: str) -> float:
    wrong = ResultError(f"{who} gave {name} = {value!r}, which is no number")
    if isinstance(value, str | bytes):  # float() would read it
        raise wrong
    try:
        number = float(value)  # type: ignore[arg-type]  # whatever has a number
    except (TypeError, ValueError, OverflowError) as error:
        raise wrong from error
    if not math.isfinite(number):
        raise ResultError(f"{who} gave {name} = {number}, which is not finite")
    return number


def _evidence(value: object, who: str, name: str) -> NDArray[Any]:
    array = array_of(value, who, f"evidence {name!r}")
    if array.dtype.kind in "iu" and array.dtype != np.uint8:
        raise ResultError(
            f"{who} gave as evidence {name!r} an array of {array.dtype}: it must be float or uint8"
        )
    array = narrowed(array, np.float32) if array.dtype.kind == "f" else array.astype(np.uint8)
    if not np.isfinite(array).all():
        raise ResultError(f"{who} gave evidence {name!r} that is not finite")
    return np.ascontiguousarray(array).reshape(array.shape)
