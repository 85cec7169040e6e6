"""What comes over the border from a plugin."""

from __future__ import annotations

import itertools
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from backbench.errors import PluginError
from backbench.plugin.calling import all_of, is_finite, sentence_of


@pytest.mark.parametrize("value", [1, -0.0, Fraction(1, 3), np.float16(0.5), np.int8(3)])
def test_real_numbers_are_finite(value):
    assert is_finite(value)


@pytest.mark.parametrize(
    "value", [10**400, -(10**400), float("nan"), float("inf"), True, "1", None, 1j, Decimal(1)]
)
def test_what_no_float_holds_is_not_finite_and_raises_nothing(value):
    assert not is_finite(value)


def test_what_never_ends_is_one_sentence():
    assert all_of((1, 2), "the hook") == [1, 2]
    with pytest.raises(PluginError, match="the hook yields more than 3 items: it must end"):
        all_of(itertools.count(), "the hook", 3)


class UnprintableError(Exception):
    """Its message raises what passes through most handlers."""

    def __str__(self):
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (UnprintableError(), "UnprintableError"),
        (type("Odd\nName", (Exception,), {})("a\nb"), "Odd Name: a b"),
        (ValueError(), "ValueError"),
    ],
)
def test_every_error_has_its_sentence(error, sentence):
    assert sentence_of(error) == sentence
