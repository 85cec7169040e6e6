"""Intervals of a table: each row's mean, ends and control."""

from __future__ import annotations

from backbench.report.figures.intervals import MOST_ROWS, interval_figures
from tests import factories
from tests.unit.report.figures.drawn import checked, texts
from tests.unit.report.figures.test_sweeps import row


def test_a_figure_has_the_mean_interval_and_control_of_each_row() -> None:
    figure = checked(lambda: next(interval_figures([row("patch", 0.5, 0.125), row("ctrl", 0.25)])))
    assert figure.rows == (
        ("patch", "3", "0.500", "[0.450, 0.550]", "0.125"),
        ("ctrl", "3", "0.250", "[0.200, 0.300]", "–"),
    )
    assert "highest 0.500, of patch." in figure.alternative
    assert "that have it, of x · x · x · x." in figure.caption


def test_of_a_long_table_the_first_rows_are_drawn() -> None:
    rows = [row(f"p{number}", 0.5) for number in range(MOST_ROWS + 1)]
    figure = next(interval_figures(rows))
    assert len(figure.rows) == MOST_ROWS + 1
    assert f"p{MOST_ROWS - 1}" in texts(figure)
    assert f"p{MOST_ROWS}" not in texts(figure)


def test_what_tells_rows_apart_names_them_and_the_rest_is_in_the_caption() -> None:
    asr = {"asr": (0.1, 0.2)}
    rows = [
        factories.row(asr),
        factories.row(asr, dataset="stl10"),
        factories.row(asr, downstream="stl10"),
        factories.row(asr, dataset="stl10", origin="theirs.zip"),
        factories.row(asr, downstream="stl10", outdated="moco revision 1, now 2"),
    ]
    figure = checked(lambda: next(interval_figures(rows)))
    names = ["drawn", "stl10", "drawn · stl10", "stl10 ‡1", "drawn · stl10 §"]
    assert [line[0] for line in figure.rows] == names
    assert set(names) <= set(texts(figure))
    end = "that have it, of moco · patch · knn; § outdated; ‡1 imported: theirs.zip."
    assert figure.caption.endswith(end)


def test_a_long_name_is_cut_and_keeps_its_mark() -> None:
    asr = {"asr": (0.1, 0.2)}
    rows = [factories.row(asr), factories.row(asr, attack="a" * 50, origin="theirs.zip")]
    figure = next(interval_figures(rows))
    assert f"{'a' * 37}… ‡1" in texts(figure)


def test_a_row_that_is_alone_has_all_its_names() -> None:
    alone = next(interval_figures([factories.row({"asr": (0.1, 0.2)})]))
    assert alone.rows[0][0] == "drawn · moco · patch · knn"
    assert alone.caption.endswith("that have it.")
