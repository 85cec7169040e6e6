from __future__ import annotations

import math
import re

from backbench.report.html.bars import NARROW, bar, domain_of
from backbench.results.statistics import Summary


def numbers(text: str, part: str) -> list[float]:
    found = re.search(rf'class="{part}" ([^/]*)/>', text)
    return [float(one) for one in re.findall(r"[\d.]+", found[1])] if found else []


def test_a_bar_has_its_interval_its_mean_and_its_control_at_their_places() -> None:
    text = str(
        bar(
            Summary(3, 0.5, 0.1, (0.25, 0.75), (0.4, 0.5, 0.6)),
            Summary(3, 0.0, 0.0, (0.0, 0.1), (0.0,) * 3),
            (0.0, 1.0),
        )
    )
    assert numbers(text, "interval") == [30, 7, 82]
    assert numbers(text, "mean")[:2] == [56, 7]
    assert numbers(text, "control") == [4, 1, 13]


def test_one_seed_has_no_interval_and_a_clean_row_no_control() -> None:
    text = str(bar(Summary(1, 1.0, None, None, (1.0,)), None, (0.0, 1.0)))
    assert "interval" not in text
    assert "control" not in text
    assert numbers(text, "mean")[:2] == [108, 7]


def test_a_narrow_bar_has_the_same_ends() -> None:
    text = str(bar(Summary(1, 1.0, None, None, (1.0,)), None, (0.0, 1.0), NARROW))
    assert f'width="{NARROW}"' in text
    assert numbers(text, "mean")[:2] == [NARROW - 4, 7]


def test_an_axis_ends_at_the_bounds_or_at_the_furthest_number() -> None:
    found = [
        Summary(2, 40.0, 1.0, (20.0, 61.0), (39.0, 41.0)),
        Summary(1, -3.0, None, None, (-3.0,)),
    ]
    assert domain_of((0.0, 1.0), found) == (0.0, 1.0)
    assert domain_of((0.0, math.inf), found[:1]) == (0.0, 61.0)
    assert domain_of(None, found) == (-3.0, 61.0)
    assert domain_of(None, []) == (0.0, 1.0)
