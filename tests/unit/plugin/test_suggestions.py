"""An unknown name is answered with the nearest right one, or with the names that there are."""

import pytest

from backbench.plugin import suggestion
from backbench.plugin.suggestions import nearest


def test_nearest_is_none_where_nothing_is_like_it() -> None:
    assert nearest("byol", ["moco-v2", "rotnet"]) is None


@pytest.mark.parametrize(
    ("names", "end"),
    [
        (["moco-v2", "byol"], ": did you mean 'byol'?"),
        (["ant", "wasp"], " (there are: ant, wasp)"),
        ([], ""),
    ],
)
def test_a_suggestion_ends_the_sentence(names: list[str], end: str) -> None:
    assert suggestion("bjol", names) == end


def test_a_thousand_names_are_not_listed() -> None:
    listed = suggestion("byol", [f"n{index:05d}" for index in range(1000)])
    assert listed.count("n0") == 20
    assert listed.endswith("n00019, …)")
