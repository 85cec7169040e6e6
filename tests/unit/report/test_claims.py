"""The rows that a claim is judged by have names that tell them apart, in the text and on the page."""

from __future__ import annotations

import pytest

from backbench.benchmark.file import Claim
from backbench.benchmark.matrix import Filter
from backbench.report.claims import HEADER, claims_text, table_of
from backbench.report.html.sections import claims_of
from backbench.results.claims import Finding, Judgement, Verdict
from tests.factories import USUAL


def judgement(*names: dict[str, str]) -> Judgement:
    claim = Claim(text="t", subject=Filter(), metric="asr", relation=">", against=0.5)
    findings = (
        Finding(USUAL | one, (0, 1), 2, 0.8, 0.5, 0.3, (0.2, 0.4), Verdict.HOLDS) for one in names
    )
    return Judgement(claim, tuple(findings))


@pytest.mark.parametrize("axis", ["dataset", "downstream", "evaluator"])
def test_rows_that_differ_in_a_name_show_it(axis: str) -> None:
    judged = judgement({axis: "one"}, {axis: "two"})
    headings, lines = table_of(judged)
    assert headings == [axis, *HEADER]
    assert [line[0] for line in lines] == ["one", "two"]
    (line,) = [line for line in claims_text([judged]).splitlines() if "two" in line]
    assert line.split()[:2] == ["two", "moco"]
    (claimed,) = claims_of([judged])
    assert [one.title for one in claimed.table.headings] == headings
    assert [[cell.text for cell in row] for row in claimed.table.rows] == lines
    assert {row[-1].style for row in claimed.table.rows} == {"good"}


def test_names_that_all_rows_have_need_no_column() -> None:
    headings, lines = table_of(judgement({"method": "moco"}, {"method": "byol"}))
    assert headings == [*HEADER]
    assert [line[:3] for line in lines] == [["moco", "patch", "none"], ["byol", "patch", "none"]]
