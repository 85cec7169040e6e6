from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace

import pytest

from backbench.benchmark.file import Claim
from backbench.benchmark.matrix import Filter
from backbench.errors import UsageError
from backbench.model import Axis
from backbench.plugin import Column
from backbench.plugin.registry import Registry
from backbench.report.html.leaderboard import metrics_table
from backbench.report.html.page import asset, page_of
from backbench.report.html.writing import write_page, write_site
from backbench.results.claims import Finding, Judgement, Verdict
from backbench.results.leaderboard import Row
from backbench.results.statistics import summarize
from backbench.store.flags import Raised
from tests.unit.report.html.pages import parsed, row, source, words

NASTY = "</noscript></style></script><img src=x onerror=alert(1)>\"'&\u202e\x00javascript:alert(1)"


def test_a_page_is_valid_and_has_all_its_parts_without_scripts() -> None:
    rows = [row(0.3, method="byol", attack="patch"), row(0.6, method="moco-v2", attack="patch")]
    text = page_of(source(rows))
    page = parsed(text)
    assert [one.get("id") for one in page.iter("section")][:4] == [
        "leaderboard",
        "figures",
        "claims",
        "protocol",
    ]
    lines = [words(line) for line in page.findall(".//table[@class='main']/tbody/tr")]
    assert len(lines) == 2
    assert "byol" in lines[0]
    assert ".310" in lines[0]
    assert ".100" in lines[0]  # the control
    sections = page.findall(".//details[@class='cell']")
    assert len(sections) == 2
    assert "accuracy/clean" in words(sections[0])
    links = {one.get("href") for one in page.findall(".//table[@class='main']//a")}
    assert links == {f"#{one.get('id')}" for one in sections}


def test_a_row_has_its_marks_where_all_rows_are_of_one_method() -> None:
    rows = [row(0.3, attack="patch"), row(0.6, attack="ctrl")]
    theirs = [replace(one, origin="theirs.zip") for one in rows]
    page = parsed(page_of(source([*rows, *theirs])))
    lines = [words(line) for line in page.findall(".//table[@class='main']/tbody/tr")]
    assert ["\u2021" in line for line in lines] == [False, False, True, True]


def test_words_of_strangers_are_shown_and_never_obeyed() -> None:
    nasty = replace(
        row(0.5, **dict.fromkeys(Axis, NASTY)),
        protocol=NASTY,
        origin=NASTY,
        outdated=NASTY,
        problem=NASTY,
        seeds=(0,),
        threat={"poisons": 1, "labels": [NASTY]},
        flags=(Raised(NASTY, NASTY, NASTY),),
    )
    claim = Claim(text=NASTY, subject=Filter(), metric="asr", relation=">", against=0.1)
    finding = Finding(nasty.names, (0,), 1, 0.5, 0.5, 0.0, None, Verdict.HOLDS)
    text = page_of(source([nasty], [Judgement(claim, (finding,))], NASTY))
    page = parsed(text)
    assert "<img src=x" not in text
    assert "\x00" not in text
    assert "\u202e" not in text
    assert text.count("<noscript>") == text.count("</noscript>")
    for element in page.iter():
        if isinstance(element.tag, str):
            assert not any(name.startswith("on") for name in element.keys())  # noqa: SIM118
            for name in ("href", "src"):
                assert re.match(r"$|#|data:image/", element.get(name, "")), element.get(name)
    assert {len(list(page.iter(tag))) for tag in ("script", "style")} == {1}
    assert "<img src=x onerror=alert(1)>" in words(page)


def test_the_policy_of_a_page_allows_its_own_script_and_no_network() -> None:
    page = parsed(page_of(source([row(0.3)])))
    policy = page.find(".//meta[@http-equiv='Content-Security-Policy']")
    assert policy is not None
    rules = dict(rule.split(" ", 1) for rule in str(policy.get("content")).split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    for tag, name in (("script", "script.js"), ("style", "style.css")):
        element = page.find(f".//{tag}")
        assert element is not None
        content = "".join(element.itertext())
        assert content == asset(name)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert rules[f"{tag}-src"] == f"'sha256-{digest}'"
    text = asset("script.js") + asset("style.css")
    assert not re.search(r"https?:|url\(|fetch\(|XMLHttpRequest|eval\(|import\(", text)


def test_the_same_rows_give_the_same_page() -> None:
    rows = [row(0.3, method="byol"), row(0.6, method="moco-v2")]
    assert page_of(source(rows)) == page_of(source(rows))


def test_variants_of_an_evaluator_share_a_section() -> None:
    rows = [row(0.3, evaluator="knn:k=1"), row(0.4, evaluator="knn:k=5")]
    page = parsed(page_of(source(rows)))
    (section,) = page.findall(".//details[@class='cell']")
    assert [words(one) for one in section.iter("h3")] == ["k=1", "k=5"]


def test_counts_have_no_decimals_where_no_column_says_so() -> None:
    values = {
        "target_tp/clean": summarize([12, 13]),
        "detector/seconds": summarize([1.5, 2.0]),
        "worst-class": summarize([0.0, 1.0]),
        "fp_lift": summarize([155, 157]),
    }
    names = {axis.value: "none" for axis in Axis}
    table = metrics_table(Row(names, (0, 1), 2, values, {}, {}), {})
    assert [line[1].text for line in table.rows] == ["12", "1.750", ".500", "156"]


def test_what_the_leaderboard_shows_comes_first_in_a_section() -> None:
    values = {name: summarize([0.5, 0.6]) for name in ("patch/poison_psnr", "asr", "worst-class")}
    names = {axis.value: "none" for axis in Axis}
    table = metrics_table(Row(names, (0, 1), 2, values, {}, {}), {"asr": Column("asr", "ASR")})
    assert [line[0].text for line in table.rows] == [
        "ASR (asr)",
        "patch/poison_psnr",
        "worst-class",
    ]


def test_a_page_replaces_a_page_and_no_other_file(tmp_path) -> None:
    page, file = tmp_path / "report.html", tmp_path / "benchmarks.toml"
    page.touch()
    assert write_page(source([row(0.3)]), page) == write_page(source([row(0.3)]), page)
    file.write_text("[[matrix]]\n")
    with pytest.raises(UsageError, match=r"benchmarks.toml: is there, and no page"):
        write_page(source([row(0.3)]), file)
    assert file.read_text() == "[[matrix]]\n"


def test_the_bundles_of_a_site_are_not_its_source(tmp_path) -> None:
    bundle = tmp_path / "site" / "bundles" / "theirs.zip"
    bundle.parent.mkdir(parents=True)
    (tmp_path / "site" / ".backbench-site").touch()
    bundle.write_bytes(b"theirs")
    with pytest.raises(UsageError, match=r"theirs.zip: lies in the site itself"):
        write_site(Registry(), [bundle], tmp_path / "site")
    assert bundle.read_bytes() == b"theirs"
