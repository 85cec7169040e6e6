"""Names that a spreadsheet, a browser, a terminal or LaTeX would obey are shown in every format."""

from __future__ import annotations

import csv
import io
import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from backbench import load
from backbench.benchmark.file import Claim
from backbench.benchmark.matrix import Filter
from backbench.errors import printable
from backbench.model import Axis
from backbench.report import comparison
from backbench.report.claims import claims_text
from backbench.report.sheet import Line, Sheet, print_sheet
from backbench.report.tables import FORMATS, print_board
from backbench.results.claims import Finding, Judgement, Verdict
from backbench.results.compare import Comparison
from backbench.results.leaderboard import COLUMNS, Leaderboard, Row
from backbench.results.published_csv import per_class_csv
from backbench.results.statistics import summarize
from backbench.store.flags import Raised
from backbench.system.escaping import csv_text, latex_text, markdown_code, markdown_text
from backbench.verification.bundle import plan_as_json, plan_from_json
from tests.conftest import tiny

NASTY = '=1|<img src=x>[a](javascript:b)`c`$\\input{d}_&%#~^ "e" [red]:bomb: https://f'
ONE = summarize([0.5])
NAMES = {axis.value: f"[{NASTY}{axis}" if axis is Axis.DATASET else NASTY for axis in Axis}

#: What would be obeyed if it were found as it is.
OBEYED = {
    "csv": ("\n=1",),
    "markdown": ("<img", "a](", "1|", "|`c`", "://"),
    "latex": ("\\input", "\n[", "\n ["),
    "html": ("<img",),
}


def board() -> Leaderboard:
    marks = dict.fromkeys(("protocol", "origin", "outdated"), NASTY)
    flags = (Raised(NASTY, NASTY, NASTY),)
    row = Row(NAMES, (0,), 1, {"accuracy/clean": ONE}, {}, {}, flags=flags, **marks)
    return Leaderboard(NASTY, COLUMNS, (row,), rescored=NASTY)


def refuse_obeyed(text: str, style: str) -> None:
    for found in OBEYED.get(style, ()):
        assert found not in text, found


@pytest.mark.parametrize("style", FORMATS)
def test_a_leaderboard(style: str) -> None:
    out = io.StringIO()
    print_board(board(), style, "evaluator", Console(file=out, width=2000))
    text = out.getvalue()
    refuse_obeyed(text, style)
    if style == "table":
        assert NASTY in text
    elif style == "json":
        assert json.loads(text)["rows"][0]["method"] == NASTY
    elif style == "csv":
        (line,) = csv.DictReader(io.StringIO(text))
        assert (line["method"], line["accuracy/clean:mean"]) == ("'" + NASTY, "0.5")
    elif style == "html":
        read = Cells()
        read.feed(text)
        assert NASTY in read.texts
        assert read.tags <= {"table", "thead", "tbody", "tr", "th", "td", "p"}


class Cells(HTMLParser):
    """The texts and the tags of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data.strip())


@pytest.mark.parametrize("style", FORMATS)
def test_a_sheet(style: str) -> None:
    fields = tuple(axis.value for axis in Axis)
    lines = (Line(NAMES, (0,), {"accuracy/clean": ONE}),)
    sheet = Sheet(NASTY, fields, COLUMNS, lines, "", "", remarks=(NASTY,))
    out = io.StringIO()
    print_sheet(sheet, style, Console(file=out, width=2000))
    refuse_obeyed(out.getvalue(), style)


def test_a_comparison(capsys: pytest.CaptureFixture[str]) -> None:
    found = [Comparison(NAMES, "accuracy/clean", ONE, ONE, ONE, None, None, None)]
    comparison.show(found, f"{NASTY} less {NASTY}", "markdown")
    refuse_obeyed(capsys.readouterr().out, "markdown")


def test_claims() -> None:
    claim = Claim(
        text=NASTY, subject=Filter(), metric="asr", relation=">", against=f"method={NASTY}"
    )
    finding = Finding(NAMES, (0,), 1, 0.5, 0.5, 0.0, None, Verdict.UNDECIDED)
    text = claims_text([Judgement(claim, (finding,))], "markdown")
    refuse_obeyed(text.replace(markdown_code(f"asr > method={NASTY}"), ""), "markdown")
    assert NASTY in claims_text([Judgement(claim, (finding,))])


def test_a_plan_and_its_bundle(tmp_path: Path) -> None:
    file = tmp_path / "b.toml"
    text = tiny().replace("[methods.rotnet]", f"[methods.{json.dumps(NASTY)}]\nplugin = 'rotnet'")
    text = text.replace('["moco-v2", "rotnet"]', f"[{json.dumps(NASTY)}]")
    file.write_text(text.replace('name = "tiny"', f"name = {json.dumps(NASTY)}"), encoding="utf-8")
    planned = load(file).plan(store=tmp_path / "store")
    assert f"pretrain {NASTY} ·" in planned.table(stages=True)
    assert json.loads(planned.table("json"))["benchmark"] == NASTY
    assert plan_from_json(plan_as_json(planned.plan)).cells == planned.plan.cells


def test_classes_in_the_published_table() -> None:
    names = ['"x', "<b>", "a|b", "=1+1", "-1", "a,b", "+a"]
    text = per_class_csv(names, np.eye(7, dtype=np.int64), None, model="m", data="d")
    rows = list(csv.reader(io.StringIO(text)))[4:]
    assert [row[0] for row in rows] == ['"x', "<b>", "a|b", "'=1+1", "-1", "a;b", "'+a"]
    assert [row[1:4] for row in rows] == [[str(at), "1.0", "0.0"] for at in range(7)]


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=1", "'=1"),
        ("+1", "+1"),
        ("-1e-5", "-1e-5"),
        ("-a", "'-a"),
        ("@a", "'@a"),
        ("\t=1", "'\\t=1"),
        ("＝1", "'＝1"),
        (-0.5, "-0.5"),
        (None, ""),
        ("\x1b[2J", "\\x1b[2J"),
    ],
)
def test_cells_of_csv(value: object, cell: str) -> None:
    assert list(csv.reader(io.StringIO(csv_text([[value, "x"]])))) == [[cell, "x"]]


@pytest.mark.parametrize("text", [".940 ±.004 [.931, .949]~", "2/3 *°", "<.001", "–", "knn:k=5"])
def test_numbers_and_plain_names_stay_as_they_are(text: str) -> None:
    assert markdown_text(text) == text


def test_what_a_terminal_would_obey_is_shown_in_every_format() -> None:
    for safe in (printable, markdown_text, latex_text, markdown_code):
        assert "\x1b" not in safe("\x1b]0;title\x07")
    assert latex_text("\\input{a}") == r"\textbackslash{}input\{a\}"
    assert markdown_code("a") == "`a`"
    assert markdown_code("a``b`") == "``` a``b` ```"
