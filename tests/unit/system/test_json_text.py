"""JSON that is written has no number that is not finite, and names what it cannot hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import backbench
from backbench.errors import BackbenchError
from backbench.keys import key_of
from backbench.system.json_text import from_json, to_json

#: Modules that may call ``json.dumps``: progress between processes may be NaN.
ALLOWED = {"json_text.py", "messages.py"}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"a": [1.0, {"b": float("nan")}]}, "x: a[1].b is nan, which JSON cannot hold"),
        ([1, -np.inf], "x: [1] is -inf, which JSON cannot hold"),
        (float("inf"), "x: the whole is inf"),
        ({"a": np.float64("nan")}, "x: a is nan"),
        ({"a": {"b": np.float32(1)}}, "x: a.b is a float32, which JSON cannot hold"),
        ({"a": np.ones(2)}, "x: a is a ndarray"),
        ({"a": b"b"}, "x: a is a bytes"),
    ],
)
def test_the_first_part_that_is_no_json_is_named(content: Any, sentence: str) -> None:
    with pytest.raises(BackbenchError) as caught:
        to_json(content, "x")
    assert str(caught.value).startswith(sentence)


def test_text_is_that_of_the_standard_library() -> None:
    content = {"b": [1, 2.5, None, True], "a": "é", "c": {}}
    assert to_json(content) == json.dumps(content)
    for options in ({"indent": 1}, {"sort_keys": True, "ensure_ascii": False}, {"default": str}):
        assert to_json(content, **options) == json.dumps(content, **options)  # type: ignore[arg-type]


def test_a_key_has_no_number_that_is_not_finite() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        key_of({"options": {"share": float("nan")}})


def test_all_json_is_written_by_one_function() -> None:
    root = Path(backbench.__path__[0])
    calls = {path.name for path in root.rglob("*.py") if "json.dump" in path.read_text("utf-8")}
    assert calls <= ALLOWED


def test_json_that_is_nested_too_deeply_is_no_json() -> None:
    for content in ("[" * 100_000, b"[" * 100_000):
        with pytest.raises(ValueError, match="nested too deeply"):
            from_json(content)
    with pytest.raises(ValueError, match="not finite, NaN"):
        from_json("[NaN]")
    assert from_json('{"a": [1]}') == {"a": [1]}
