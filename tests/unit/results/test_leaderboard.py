"""Rows, controls, filters, marks and the forms in which they are printed."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console
from tests import factories

from backbench.errors import UsageError
from backbench.metrics import Outcome
from backbench.model import Cell, CellName, Plan, Stage, StageKind
from backbench.report.tables import as_json, comma_separated, html, latex, markdown, print_board
from backbench.results.filtering import group, select
from backbench.results.leaderboard import Leaderboard
from backbench.results.ranking import extremes, ranks
from backbench.results.rows import build
from backbench.store.metadata import EvaluationRecord
from backbench.store.records import Record


def record(key: str, metrics: Mapping[str, float]) -> Record:
    return factories.record(key, metrics=metrics)


CLEAN = {"accuracy/clean": 0.9}


def fallen(fp: float) -> dict[str, float]:
    return {**CLEAN, "accuracy/triggered": 0.5, "target_fp/triggered": fp, "asr": fp / 900}


def cell(method: str, attack: str, seed: int, control: str | None = None) -> Cell:
    name = CellName("drawn", attack, method, "none", "linear", seed)
    return Cell(name, (f"{method}-{attack}-{seed}",), control)


CELLS = tuple(
    one
    for method in ("moco-v2", "rotnet")
    for seed in (0, 1)
    for one in (
        cell(method, "none", seed),
        cell(method, "patch", seed, f"{method}-control-{seed}"),
    )
)
RECORDS = {
    "moco-v2-none-0": record("a", CLEAN),
    "moco-v2-none-1": record("b", {"accuracy/clean": 0.92}),
    "moco-v2-patch-0": record("c", fallen(300)),
    "moco-v2-patch-1": record("d", fallen(400)),
    "moco-v2-control-0": record("e", fallen(10)),
    "moco-v2-control-1": record("f", fallen(30)),
    "rotnet-none-0": record("g", {"accuracy/clean": 0.7}),
    "rotnet-none-1": record("i", {"accuracy/clean": 0.72}),
    "rotnet-patch-0": record("h", fallen(12)),
}
FAILURES = {"rotnet-patch-1": {"label": "pretrain rotnet", "reason": "out of memory"}}


@pytest.fixture
def board() -> Leaderboard:
    return factories.board(Plan("bench", {}, CELLS), RECORDS, FAILURES)


def test_rows_hold_seeds_controls_and_paired_lifts(board: Leaderboard) -> None:
    row = board.rows[1]
    assert (row.names["method"], row.names["attack"]) == ("moco-v2", "patch")
    assert row.seeds == (0, 1)
    assert row.values["target_fp/triggered"].mean == 350
    assert row.controls["target_fp/triggered"].mean == 20
    assert row.lifts["target_fp/triggered"].values == (290, 370)


def of_variants(key: str, values: Mapping[str, float]) -> Record:
    metrics = {f"asr@{variant}": value for variant, value in values.items()}
    return replace(record(key, metrics), metadata=EvaluationRecord(1, 6, 3, variants=tuple(values)))


@pytest.fixture
def variants() -> Leaderboard:
    """One cell of a k-NN with two variants and one of a linear classifier; a seed is missing."""
    cells = [
        replace(one, name=replace(one.name, evaluator=evaluator), path=(f"{evaluator}-{seed}",))
        for evaluator in ("knn", "linear")
        for seed in (0, 1)
        for one in [cell("moco-v2", "patch", seed, f"control-{evaluator}-{seed}")]
    ]
    records = {
        "knn-0": of_variants("a", {"k=1": 0.5, "k=50": 0.75}),
        "control-knn-0": of_variants("b", {"k=1": 0.25, "k=50": 0.125}),
        "linear-0": record("c", {"asr": 0.9}),
        "linear-1": record("d", {"asr": 0.7}),
    }
    return factories.board(Plan("b", {}, tuple(cells)), records)


def test_every_variant_has_a_row(variants: Leaderboard) -> None:
    assert [row.names["evaluator"] for row in variants.rows] == ["knn:k=1", "knn:k=50", "linear"]
    first, second, _ = variants.rows
    assert (first.seeds, first.planned) == ((0,), 2)
    assert first.values["asr"].mean == 0.5
    assert second.values["asr"].mean == 0.75
    assert second.controls["asr"].mean == 0.125
    assert second.lifts["asr"].values == (0.625,)
    assert set(first.values) == {"asr", "asr_lift"}
    assert first.complete is second.complete is False


def test_a_cell_that_has_not_run_has_one_row() -> None:
    one = cell("moco-v2", "patch", 0)
    one = replace(one, name=replace(one.name, evaluator="knn"))
    (row,) = factories.board(Plan("b", {}, (one,)), {}).rows
    assert row.names["evaluator"] == "knn"
    assert row.seeds == ()


def test_a_row_that_has_not_run_has_the_variants_of_the_others() -> None:
    """While a run goes on it stands in their tables, not in one of its own."""
    done, waiting, other = (
        replace(one, name=replace(one.name, evaluator=evaluator))
        for one, evaluator in (
            (cell("moco-v2", "none", 0), "knn"),
            (cell("rotnet", "none", 0), "knn"),
            (cell("rotnet", "none", 0), "linear"),
        )
    )
    records = {"moco-v2-none-0": of_variants("a", {"k=1": 0.5, "k=50": 0.75})}
    for cells in ((done, waiting, other), (waiting, done, other)):
        rows = factories.board(Plan("b", {}, cells), records).rows
        found = sorted((row.names["method"], row.names["evaluator"]) for row in rows)
        assert found == [
            ("moco-v2", "knn:k=1"),
            ("moco-v2", "knn:k=50"),
            ("rotnet", "knn:k=1"),
            ("rotnet", "knn:k=50"),
            ("rotnet", "linear"),
        ]


def test_variants_are_found_by_their_own_name_and_by_the_evaluators(variants: Leaderboard) -> None:
    def found(*filters: str, sort: str | None = None) -> list[str]:
        return [row.names["evaluator"] for row in select(variants, filters, sort).rows]

    assert found("evaluator=knn") == ["knn:k=1", "knn:k=50"]
    assert found("evaluator=knn:k=1") == ["knn:k=1"]
    assert found("evaluator!=knn") == ["linear"]
    assert found("evaluator!=knn:k=1") == ["knn:k=50", "linear"]
    assert found("asr>0.6") == ["knn:k=50", "linear"]
    assert found(sort="-asr") == ["linear", "knn:k=50", "knn:k=1"]
    with pytest.raises(UsageError, match="no evaluator is called 'knn:k=5': did you mean"):
        found("evaluator=knn:k=5")


def test_a_missing_seed_and_its_reason_are_seen(board: Leaderboard) -> None:
    row = board.rows[3]
    assert row.seeds == (0,)
    assert row.planned == 2
    assert row.problem == "pretrain rotnet: out of memory"
    assert not row.controls  # its control has not run
    assert row.uncontrolled == 1
    assert not row.complete
    assert board.rows[1].complete


def test_a_failed_control_is_told() -> None:
    stages = {
        "e": Stage(StageKind.PREDICT, None, 0, inputs={"clean": "p"}),
        "p": Stage(StageKind.PRETRAIN, None, 0),
    }
    cells = (cell("moco-v2", "patch", 0, "e"),)
    failures = {"p": {"label": "pretrain", "reason": "the loss is nan"}}
    (row,) = factories.board(Plan("b", stages, cells), RECORDS, failures).rows
    assert row.seeds == (0,)
    assert row.controls == {}
    assert row.problem == "pretrain: the loss is nan"


def test_filters_and_order(board: Leaderboard) -> None:
    def methods(filters: list[str], sort: str | None = None) -> list[str]:
        rows = select(board, filters, sort).rows
        return [f"{row.names['method']}/{row.names['attack']}" for row in rows]

    assert methods(["attack=none"]) == ["moco-v2/none", "rotnet/none"]
    assert methods(["attack!=none", "asr>0.1"]) == ["moco-v2/patch"]
    assert methods(["accuracy/clean<=0.8"]) == ["rotnet/none"]
    assert methods([], "accuracy/clean")[0] == "rotnet/none"
    assert methods([], "-asr") == ["moco-v2/patch", "rotnet/patch", "moco-v2/none", "rotnet/none"]
    assert methods([], "-method")[0].startswith("rotnet")


@pytest.mark.parametrize(
    ("filters", "sort", "sentence"),
    [
        (["methd=byol"], None, "nothing is called 'methd': did you mean 'method'"),
        (["method=mocov2"], None, "no method is called 'mocov2': did you mean 'moco-v2'"),
        (["method>byol"], None, "compared with = or !="),
        (["asr>lots"], None, "'lots' is not a number"),
        (["asr>nan"], None, "'nan' is not a number"),
        (["asr"], None, "write NAME=VALUE"),
        ([], "acc", "nothing is called 'acc'"),
    ],
)
def test_wrong_filters_are_one_sentence(
    board: Leaderboard, filters: list[str], sort: str | None, sentence: str
) -> None:
    with pytest.raises(UsageError, match=sentence.replace("(", r"\(")):
        select(board, filters, sort)


def test_lifts_have_names(board: Leaderboard) -> None:
    row = board.rows[1]
    assert row.values["fp_lift"] == row.lifts["target_fp/triggered"]
    assert row.values["asr_lift"].values == pytest.approx((290 / 900, 370 / 900))
    assert [one.names["method"] for one in select(board, ["fp_lift>100"], None).rows] == ["moco-v2"]
    assert select(board, [], "-asr_lift").rows[0] == row
    line = list(csv.DictReader(io.StringIO(comma_separated(board))))[1]
    assert float(line["fp_lift:mean"]) == 330
    assert line["complete"] == "yes"
    assert json.loads(as_json(board))["rows"][1]["metrics"]["fp_lift"]["n"] == 2


def test_outcomes_of_images_widen_intervals_and_pair_lifts() -> None:
    rates = {one.key: one.metrics["asr"] for one in RECORDS.values() if "asr" in one.metrics}

    def measured(key: str, _: str) -> dict[str, Outcome]:
        hits = np.arange(900) < rates[key] * 900 - 0.5
        return {"asr": Outcome(hits.astype(np.int8), np.arange(900))}

    cells = tuple(one for one in CELLS if one.name.method == "moco-v2" and one.control)
    row = build(Plan("b", {}, cells), RECORDS.get, {}.get, measured_of=measured).rows[0]
    bare = factories.board(Plan("b", {}, cells), RECORDS).rows[0]
    assert row.values["asr"].over == row.lifts["asr"].over == "seeds and images"
    assert row.values["asr"].values == bare.values["asr"].values
    assert bare.values["asr"].over == "seeds"
    hits = row.samples["asr_lift"].hits
    assert hits is not None
    assert hits.sum(axis=1).tolist() == [290, 370]


def ranked(*values: tuple[float, ...]) -> Leaderboard:
    """A row a method, with the accuracies of its seeds."""
    cells = [
        cell(f"method-{i}", "none", seed)
        for i, row in enumerate(values)
        for seed in range(len(row))
    ]
    records = {
        f"method-{i}-none-{seed}": record(f"{i}-{seed}", {"accuracy/clean": value})
        for i, row in enumerate(values)
        for seed, value in enumerate(row)
    }
    return factories.board(Plan("b", {}, tuple(cells)), records)


def test_ranks_only_where_intervals_are_apart() -> None:
    board = ranked((0.9, 0.91, 0.92), (0.91, 0.9, 0.91), (0.5, 0.51, 0.5), (0.5, 0.9, 0.7))
    assert ranks(board)["accuracy/clean"] == {0: 1, 1: 1, 2: 3, 3: 1}
    marks = extremes(board)
    assert marks["accuracy/clean", "best"] == {0, 1}  # the last is tied with both ends
    assert marks["accuracy/clean", "worst"] == {2}
    assert json.loads(as_json(board))["rows"][2]["ranks"] == {"accuracy/clean": 3}
    lines = list(csv.DictReader(io.StringIO(comma_separated(board))))
    assert [line["accuracy/clean:rank"] for line in lines] == ["1", "1", "3", "1"]


@pytest.mark.parametrize("field", ["dataset", "downstream", "evaluator"])
def test_rows_of_other_images_are_not_ranked_against_each_other(field: str) -> None:
    board = ranked((0.9, 0.91), (0.5, 0.51), (0.3, 0.31), (0.1, 0.11))
    other = [replace(row, names={**row.names, field: "other"}) for row in board.rows[2:]]
    apart = replace(board, rows=(*board.rows[:2], *other))
    assert ranks(apart)["accuracy/clean"] == {0: 1, 1: 2, 2: 1, 3: 2}
    assert extremes(apart)["accuracy/clean", "best"] == {0, 2}
    assert extremes(apart)["accuracy/clean", "worst"] == {1, 3}


def test_what_cannot_be_told_apart_has_no_best() -> None:
    board = ranked((0.9, 0.5, 0.7), (0.8, 0.6, 0.7))
    assert ranks(board)["accuracy/clean"] == {0: 1, 1: 1}
    assert extremes(board) == {}


def test_outdated_and_imported_rows_are_not_ranked() -> None:
    board = ranked((0.9, 0.91), (0.5, 0.51), (0.1, 0.11))
    first, second, third = board.rows
    rows = (replace(first, outdated="linear revision 1, now 2"), second, third)
    assert ranks(replace(board, rows=rows))["accuracy/clean"] == {1: 1, 2: 2}
    rows = (first, second, replace(third, origin="theirs.zip"))
    board = replace(board, rows=rows)
    assert ranks(board)["accuracy/clean"] == {0: 1, 1: 2}
    assert extremes(board)["accuracy/clean", "worst"] == {1}


def test_a_seed_whose_predictions_are_gone_is_missing() -> None:
    measured = factories.measured_by(RECORDS.values())
    cells = tuple(one for one in CELLS if one.name.method == "moco-v2" and one.control)
    row = build(
        Plan("b", {}, cells),
        RECORDS.get,
        {}.get,
        measured_of=lambda key, variant: None if key == "d" else measured(key, variant),
    ).rows[0]
    assert (row.seeds, row.complete) == ((0,), False)
    assert row.problem == (
        "d: its predictions are missing or damaged: `backbench run --redo d` makes them again"
    )


def test_one_seed_or_a_missing_one_is_not_ranked(board: Leaderboard) -> None:
    assert ranks(ranked((0.9,), (0.5,))) == {}
    assert 3 not in ranks(board)["asr"]


def test_web_pages(board: Leaderboard) -> None:
    row = replace(board.rows[1], names={**board.rows[1].names, "method": "<moco> & co"})
    text = html(replace(board, rows=(row,)))
    assert "350 ±71<br>[69, 1785]~" in text
    assert "&lt;moco&gt; &amp; co" in text
    assert "95 % interval of the mean" in text
    assert text.count("<tr>") == 2


def test_every_form_has_all_four_of_every_number(board: Leaderboard) -> None:
    line = list(csv.DictReader(io.StringIO(comma_separated(board))))[1]
    low, high = board.rows[1].values["asr"].ci95 or (0, 0)
    assert float(line["asr:ci95_low"]) == low
    assert float(line["asr:ci95_high"]) == high
    assert line["asr:over"] == "seeds"
    assert line["asr:n"] == "2"
    content = json.loads(as_json(board))
    assert content["rows"][1]["metrics"]["asr"]["ci95"] == [low, high]
    assert 0 < low < high < 1
    assert "Student's t" in content["interval"]


def test_groups(board: Leaderboard) -> None:
    titles = [title for title, _ in group(board, "method")]
    assert titles == ["method moco-v2", "method rotnet"]


def test_a_row_has_its_marks_where_the_method_is_the_group(board: Leaderboard) -> None:
    theirs = replace(board.rows[3], origin="theirs.zip")
    console = Console(file=io.StringIO(), width=200)
    print_board(replace(board, rows=(board.rows[1], theirs)), "table", "method", console)
    ours, others = console.file.getvalue().split("method rotnet")  # type: ignore[attr-defined]
    assert "Method" not in ours
    assert "rotnet \u20211" in others


def test_json_and_csv_hold_the_same_numbers(board: Leaderboard) -> None:
    row = json.loads(as_json(board))["rows"][1]
    assert row["metrics"]["asr"]["values"] == [300 / 900, 400 / 900]
    assert row["controls"]["asr"]["mean"] == pytest.approx(20 / 900)
    line = list(csv.DictReader(io.StringIO(comma_separated(board))))[1]
    assert float(line["asr:mean"]) == row["metrics"]["asr"]["mean"]
    assert float(line["asr:lift:mean"]) == row["lifts"]["asr"]["mean"]
    assert line["n"] == "2"


def test_markdown_and_latex(board: Leaderboard) -> None:
    text = markdown(board)
    assert "350 ±71 [69, 1785]~" in text
    assert "control" in text
    assert "95 % interval of the mean" in text
    text = latex(board)
    assert r"\toprule" in text
    assert r"350 $\pm$71" in text
    assert r"{\scriptsize [69, 1785]$\sim$}" in text
    assert "95 \\% interval of the mean" in text
    marked = replace(
        board.rows[3], external=True, outdated="linear revision 1, now 2", origin="a_b"
    )
    text = latex(replace(board, rows=(*board.rows, marked)))
    assert r"rotnet $\dagger$ \S{} $\ddagger$1" in text
    assert r"1/2 *$^\circ$$\times$" in text
    assert r"\par $\ddagger$1 imported: a\_b" in text
    assert r"\par * fewer than 3 seeds, $^\circ$ a control is missing, $\times$ a" in text
    assert not set("±–†‡§°✗") & set(text)


@pytest.mark.parametrize(
    ("width", "numbers"),
    [
        (80, ["350", "69–1785~", "c 20"]),
        (120, ["350", "69–1785~", "c 20"]),
        (200, ["350 ±71", "[69, 1785]~", "20 ±14"]),
    ],
)
def test_a_terminal_never_cuts_a_number(board: Leaderboard, width: int, numbers: list[str]) -> None:
    """A narrow one has the control below its number, and no deviations."""
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=True, color_system=None)
    print_board(board, "table", "evaluator", console)
    text = out.getvalue()
    assert "…" not in text
    table = text.split("below a mean" if width < 200 else "mean ±", maxsplit=1)[0]
    for number in numbers:
        assert number in table
    assert "1/2 *°✗" in table
    assert max(len(line) for line in table.splitlines()) <= width
