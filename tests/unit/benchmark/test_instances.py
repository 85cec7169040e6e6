"""A plugin's own check of its options, whichever command runs it, ends in sentences."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from backbench.benchmark.instances import Instance
from backbench.plugin import AttackInfo, Options
from backbench.plugin.packages import Origin
from backbench.plugin.registry import Registered

INFO = AttackInfo(name="rude", summary="Rude.", target="nowhere:Rude")
INSTANCE = Instance("attacks", "a", Registered(INFO, Origin("acme", "1.0", "rude")), Options())


def leaves() -> Any:
    raise SystemExit("enough")


@pytest.mark.parametrize(
    ("check", "sentence"),
    [
        (lambda: "one sentence", "one sentence"),
        (leaves, "attack 'rude' of acme 1.0 raised SystemExit: enough"),
        (lambda: (str(1 / 0) for _ in range(3)), "rude' of acme 1.0 raised ZeroDivisionError"),
        (lambda: None, "raised TypeError"),
        (lambda: itertools.repeat("x"), "of acme 1.0 yields more than 10,000 items"),
    ],
)
def test_a_check_of_options_gives_sentences_whatever_it_does(
    check: Callable[[], Any], sentence: str
) -> None:
    (found,) = INSTANCE.problems(check)
    assert sentence in found


def test_a_check_gets_what_the_options_meet() -> None:
    assert INSTANCE.problems(lambda *given: given, 1, "b") == ["1", "b"]
