"""A page of rows that a test makes up, and readers of pages."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree.ElementTree import Element

import html5lib

from backbench.model import Axis, Plan
from backbench.plugin.registry import Registry
from backbench.report.figures.opened import Opened
from backbench.report.html.source import Source
from backbench.results.claims import Judgement
from backbench.results.leaderboard import COLUMNS, Leaderboard, Row
from backbench.results.statistics import summarize


def row(asr: float, **names: str) -> Row:
    """Return a row of two seeds with a control."""
    values = {"accuracy/clean": summarize([0.8, 0.9]), "asr": summarize([asr, asr + 0.02])}
    controls = {"asr": summarize([0.1, 0.1])}
    usual = {axis.value: "none" for axis in Axis} | {"dataset": "drawn", "evaluator": "knn"}
    return Row(usual | names, (0, 1), 2, values, controls, {})


def source(rows: Sequence[Row], claims: Sequence[Judgement] = (), name: str = "tiny") -> Source:
    """Return what a page is of, without a store."""
    plan = Plan(name, {}, ())
    opened = Opened(plan, lambda _: None, lambda _: None, lambda _: None, Registry())
    return Source("store", Leaderboard(name, COLUMNS, tuple(rows)), claims, opened)


def parsed(text: str) -> Element:
    """Return a page as a browser without scripts reads it; fail if it is not valid HTML."""
    found: Element = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(text)
    return found


def words(element: Element) -> str:
    """Return the text of an element."""
    return " ".join("".join(element.itertext()).split())
