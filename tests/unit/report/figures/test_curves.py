"""Training curves: the table and the words have the numbers of the logs."""

from __future__ import annotations

from backbench.report.figures.curves import curves_figure
from tests.unit.report.figures.drawn import checked


def log(epochs: int, **last: float) -> list[dict[str, float]]:
    entries = [
        {"epoch": float(at), "loss": 2.0 - at, "feature_spread": 0.5, "effective_rank": 3.0}
        for at in range(epochs)
    ]
    entries[-1] |= last
    return entries


def test_curves_have_the_numbers_of_each_training() -> None:
    logs = {
        "attacked": log(2, knn_accuracy=0.75, knn_accuracy_triggered=0.25, knn_asr=0.625),
        "control": log(1),
    }
    figure = checked(lambda: curves_figure(logs))
    assert figure.columns[:3] == ("training", "epoch", "loss")
    assert figure.rows == (
        ("attacked", "2", "1.000", "0.500", "3.000", "0.750", "0.250", "0.625"),
        ("control", "1", "2.000", "0.500", "3.000", "–", "–", "–"),
    )
    assert "k-NN success rate 0.625" in figure.alternative
    assert "2 epochs of attacked and 1 epoch of control" in figure.caption


def test_a_long_training_has_a_short_table_that_ends_with_its_last_epoch() -> None:
    entries = log(100)
    for at, one in enumerate(entries):
        one["knn_accuracy"] = at / 100
    rows = curves_figure({"long": entries}).rows
    assert len(rows) <= 8
    assert rows[-1][1] == "100"
