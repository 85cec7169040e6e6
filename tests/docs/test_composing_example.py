"""The example of an attack that composes, in the docstring of the base class of attacks."""

from __future__ import annotations

import importlib
import inspect
import sys
from pathlib import Path

import numpy as np
import pytest

from backbench.images import ArrayImages
from backbench.plugin import Attack, DatasetMetadata, Options
from backbench.poison.access import Access
from backbench.poison.poisoning import Poison
from tests.docs.test_plugin_examples import files


class Corner(Options):
    target: str = "b"


def test_the_example_adds_a_square_beside_an_image_of_the_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = files(inspect.getdoc(Attack) or "")
    (tmp_path / "my_composing").mkdir()
    for name in ("my_plugin/corner.py", "my_plugin/beside.py"):
        file = tmp_path / name.replace("my_plugin", "my_composing")
        file.write_text(texts[name].replace("my_plugin", "my_composing"), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    attack = importlib.import_module("my_composing.beside").Beside(
        Corner(), DatasetMetadata(("a", "b"), 10, 2, (8, 8), (5, 5))
    )
    pixels = np.random.default_rng(0).integers(0, 200, (10, 8, 8, 3), dtype=np.uint8)
    images = ArrayImages(pixels, np.arange(10) % 2, [str(i) for i in range(10)])
    poison = Poison(attack, Access(images), 0)
    assert list(poison) == [10, 11, 12, 13]
    for mark, made in poison.described():
        other, reference = mark.parts
        assert (other.index % 2, reference.index % 2) == (0, 1)
        assert made.shape == (8, 16, 3)
        np.testing.assert_array_equal(made[:4, :4], np.broadcast_to((255, 0, 0), (4, 4, 3)))
        np.testing.assert_array_equal(made[:, 8:], pixels[reference.index])
    for name in [name for name in sys.modules if name.startswith("my_composing")]:
        del sys.modules[name]
