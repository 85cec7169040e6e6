"""Confusion matrices and false positives: what is written is what was predicted."""

from __future__ import annotations

import numpy as np

from backbench.report.figures.canvas import short
from backbench.report.figures.confusions import (
    MOST_BARS,
    MOST_NAMED,
    confusion_figure,
    false_positive_figure,
)
from tests.unit.report.figures.drawn import checked, texts

LABELS = np.array([0, 0, 0, 1, 1, 2])
PREDICTED = np.array([0, 0, 2, 2, 1, 2])
CLASSES = ("cat", "dog", "fox")


def test_a_matrix_has_the_counts_in_figure_table_and_words() -> None:
    def draw():
        return confusion_figure(LABELS, PREDICTED, CLASSES, version="triggered", target=2)

    figure = checked(draw)
    assert figure.columns == ("true class", *CLASSES)
    assert figure.rows == (
        ("cat", "2", "0", "1"),
        ("dog", "0", "1", "1"),
        ("fox", "0", "0", "1"),
    )
    assert "accuracy 0.667" in figure.alternative
    assert "2 of 5 images of other classes" in figure.alternative
    assert sorted(one for one in texts(figure) if one.isdigit()) == ["1", "1", "1", "1", "2"]


def test_many_classes_have_no_names_and_only_the_most_frequent_mistakes() -> None:
    count = MOST_NAMED + 1
    labels = np.repeat(np.arange(count), 2)
    predicted = labels.copy()
    predicted[:2] = 5
    names = tuple(f"class {one}" for one in range(count))
    figure = checked(lambda: confusion_figure(labels, predicted, names, version="clean"))
    assert figure.rows == (("class 0", "class 5", "2"),)
    assert texts(figure) == ["predicted class", "true class"]


def test_false_positives_are_in_the_order_of_the_last_predictions() -> None:
    named = {"clean": LABELS, "triggered": PREDICTED}
    figure = checked(lambda: false_positive_figure(LABELS, named, CLASSES, 2))
    assert figure.columns == ("class", "clean", "triggered")
    assert figure.rows == (("fox", "0", "2"), ("cat", "0", "0"), ("dog", "0", "0"))
    assert "0 clean, 2 triggered" in figure.alternative


def test_the_target_is_shown_among_the_classes_with_the_most() -> None:
    count = MOST_BARS + 5
    labels = np.arange(count)
    names = tuple(f"class {one}" for one in range(count))
    predicted = (labels + 1) % (count - 1)
    figure = false_positive_figure(labels, {"clean": predicted}, names, count - 1)
    assert f"class {count - 1}" in texts(figure)
    assert f"The {MOST_BARS} classes" in figure.caption


def test_the_words_of_a_stranger_are_only_shown() -> None:
    names = ("<script>alert(1)</script>", "$\\frac{1}{", "\x1b[31mred")
    figure = checked(lambda: confusion_figure(LABELS, PREDICTED, names, version="clean"))
    assert b"<script" not in figure.image
    assert texts(figure).count(short(names[1], 14)) == 2
