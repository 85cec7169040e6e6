"""Every figure that others report says where it is from, what it is of, and in which unit."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from backbench.benchmark.protocols.card import find_protocol
from backbench.benchmark.reported.figures import Source, reported_sources
from backbench.model import NONE
from backbench.plugin.registry import load_registry
from backbench.results.detectors import COLUMNS as DETECTORS
from backbench.results.leaderboard import COLUMNS

SOURCES = reported_sources()
#: A detector's F1 is no metric of ours: nothing ranks by a threshold of its own.
METRICS = {column.metric for column in (*COLUMNS, *DETECTORS)} | {"detector/f1"}


def test_the_figures_that_are_known() -> None:
    assert {name: len(source.figures) for name, source in SOURCES.items()} == {
        "badencoder": 24,
        "corrupt-encoder": 5,
        "defuse": 33,
        "inactive": 6,
        "ssl-backdoor-library": 4,
        "ssl-backdoor-library-search": 6,
    }


@pytest.mark.parametrize("name", SOURCES)
def test_every_figure_names_a_plugin_or_what_is_not_built_in(name: str) -> None:
    source, registry = SOURCES[name], load_registry()
    built_in = {kind: {NONE, *registry.names(kind)} for kind in ("attack", "ssl-method", "defense")}
    used = set()
    for figure in source.figures:
        named = {"attack": figure.attack, "ssl-method": figure.method, "defense": figure.defense}
        used |= {one for kind, one in named.items() if one not in built_in[kind]}
    assert used == set(source.not_built_in)


@pytest.mark.parametrize("name", SOURCES)
def test_every_value_is_a_known_metric_in_its_unit(name: str) -> None:
    for figure in SOURCES[name].figures:
        for metric, value in figure.scaled.items():
            assert metric in METRICS or metric.startswith("detection/"), metric
            if figure.unit == "images":
                assert value == int(value)
            else:
                assert 0 <= value <= 1
                assert figure.unit == "fraction" or value == 0 or figure.values[metric] > 0.1


def test_a_row_is_of_a_protocol_and_plugins_and_has_one_figure() -> None:
    seen = set()
    for source in SOURCES.values():
        for figure in source.figures:
            if figure.row is None:
                continue
            assert figure.row.evaluator in find_protocol(figure.row.protocol).evaluators
            assert not {figure.attack, figure.method, figure.defense} & set(source.not_built_in)
            for metric in figure.values:
                key = (figure.row.protocol, figure.row.evaluator, figure.method, figure.attack)
                key += (str(figure.row.attack), metric)
                assert key not in seen
                seen.add(key)
    assert len(seen) == 4 * 3 + 2 * 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"link": ""},
        {"link": "ftp://example.org"},
        {"figures": ()},
        {
            "figures": (
                {"attack": "patch", "method": "byol", "protocol": "x", "values": {"asr": 1}},
            )
        },
    ],
    ids=["no link", "no web address", "no figure", "no unit"],
)
def test_what_does_not_say_its_source_or_unit_is_refused(wrong: dict[str, object]) -> None:
    right = next(iter(SOURCES.values())).model_dump()
    Source.model_validate(right)
    with pytest.raises(ValidationError):
        Source.model_validate(right | wrong)
