"""The conformance kit itself: its failures are sentences, one for each cause."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import backbench
from backbench import testing
from tests.contract.broken import attack, kit_of


class Raises(attack.Right):
    def stamp(self, image, rng, split):
        raise KeyError("trigger.png")


def test_a_step_that_fails_is_one_failure_and_the_rest_is_skipped():
    kit = kit_of(attack, Raises)
    with pytest.raises(AssertionError, match=r"stamp must not raise KeyError: .trigger\.png."):
        kit.test_stamp_shows()
    for test in (kit.test_stamp_shows, kit.test_boxes_lie_on_the_image):
        with pytest.raises(pytest.skip.Exception, match="stamp has failed in another test"):
            test()
    kit.test_choice_is_distinct_and_in_range()


def test_every_assertion_of_the_kit_is_a_sentence():
    for path in (Path(backbench.__path__[0]) / "testing").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Assert):
                assert node.msg is not None, f"{path.name}:{node.lineno}"


def test_pytest_is_imported_by_the_kit_alone():
    root = Path(backbench.__path__[0])
    kit = root / "testing"
    templates = root / "scaffold" / "templates"
    for path in root.rglob("*.py"):
        if path.is_relative_to(templates):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in getattr(node, "names", ()) if hasattr(alias, "name")]
            for name in [*names, getattr(node, "module", None) or ""]:
                if name.startswith(("pytest", "_pytest", "backbench.testing")):
                    assert path.is_relative_to(kit), f"{path} imports {name}"


def test_the_page_for_authors_names_every_contract():
    page = (Path(__file__).parents[2] / "docs/how-to/write-a-plugin.md").read_text(encoding="utf-8")
    contracts = {name for name in testing.__all__ if name.endswith("Contract")}
    missing = {name for name in contracts - {"PluginContract"} if f"`{name}`" not in page}
    assert missing == set()
