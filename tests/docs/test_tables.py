"""The tables of results in the pages are those that their data give."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from backbench.plugin.registry import load_registry

ROOT = Path(__file__).parents[2]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(autouse=True)
def _root_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))


def number(mean: float, **more: object) -> dict[str, object]:
    one_seed = {"n": 1, "mean": mean, "std": None, "ci95": None, "values": [mean], "over": ""}
    return {**one_seed, **more}


ROW = {
    "method": "byol",
    "attack": "patch",
    "defense": "none",
    "evaluator": "linear",
    "metrics": {
        "accuracy/clean": number(0.9, n=3, std=0.01, ci95=[0.88, 0.925], over="seeds"),
        "target_fp/triggered": number(388.0),
        "asr": number(0.5),
    },
    "controls": {"asr": number(0.002)},
}


def test_the_pages_have_the_tables_of_their_data() -> None:
    from benchmarks.tables import TABLES, insert, kept, rendered

    assert "quick" in kept()
    for name, data in kept().items():
        page = (ROOT / TABLES[name].page).read_text(encoding="utf-8")
        assert insert(page, name, rendered(name, data)) == page, (
            f"run python -m benchmarks.tables {name}"
        )


def test_the_figure_is_that_of_its_data() -> None:
    from benchmarks.tables import FIGURE, figure, kept

    assert figure(kept()["quick"]["rows"]) == FIGURE.read_text(encoding="utf-8")


def test_every_table_has_its_markers() -> None:
    from benchmarks.tables import TABLES, insert

    for name, table in TABLES.items():
        insert((ROOT / table.page).read_text(encoding="utf-8"), name, "rows")


def test_a_row_in_markdown() -> None:
    from benchmarks.tables import markdown

    line = markdown([ROW]).splitlines()[-1]
    assert line == (
        "| byol | patch | none | .900 ±.010 [.880, .925]~ | – | – | – | 388 | – | .500 | .002 |"
    )


def test_a_short_table_has_accuracy_and_asr_of_undefended_attacks() -> None:
    from benchmarks.tables import markdown

    others = [{**ROW, "attack": "none"}, {**ROW, "defense": "distill"}]
    head, _, line = markdown([ROW, *others], short=True).splitlines()
    assert head == "| Method | Attack | Defense | Acc | ASR | control |"
    assert line == "| byol | patch | none | .900 ±.010 [.880, .925]~ | .500 | .002 |"


def test_bars_are_as_long_as_the_rates() -> None:
    from benchmarks.tables import figure

    clean = {**ROW, "attack": "none", "metrics": {}, "controls": {}}
    defended = {**ROW, "defense": "distill"}
    image = ET.fromstring(figure([clean, ROW, defended]))
    attack, control = (
        float(one.attrib["width"])
        for one in image.iter(f"{SVG}rect")
        if "height" in one.attrib
        if one.attrib["height"] != "12"
    )
    assert attack / control == pytest.approx(250, rel=0.06)
    assert "byol" in [text.text for text in image.iter(f"{SVG}text")]


def test_markers_that_are_missing_are_an_error() -> None:
    from benchmarks.tables import insert

    with pytest.raises(ValueError, match="quick: 0 pairs"):
        insert("no markers", "quick", "rows")


def test_the_readme_names_every_plugin() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    built_in = re.search(r"## What is built in\n(.*?)\n## ", text, re.DOTALL)
    assert built_in is not None
    named = set(re.findall(r"`([^`]+)`", built_in[1]))
    own = [one for one in load_registry().all() if one.origin.distribution == "backbench"]
    assert {one.info.name for one in own} - named == set()
