"""Nearest neighbors: by cosine, and counted by whether they are of the target class."""

from __future__ import annotations

import numpy as np

from backbench.report.figures.neighbors import (
    Neighborhood,
    nearest,
    neighbor_figure,
    queries,
)
from tests.unit.report.figures.drawn import checked


def test_neighbors_are_the_nearest_by_cosine() -> None:
    bank = np.array([[1, 0], [0, 9], [5, 5]], dtype=np.float32)
    order, cosines = nearest(bank, np.array([2, 0.1], dtype=np.float32), 2)
    assert order.tolist() == [0, 2]
    assert cosines[0] > 0.99 > cosines[1]


def test_the_figure_counts_neighbors_of_the_target_class() -> None:
    image = np.zeros((4, 4, 3), dtype=np.uint8)
    found = [
        Neighborhood("attacked", (image, 0), [(image, 1), (image, 1)], [0.9, 0.8]),
        Neighborhood("control", (image, 0), [(image, 0), (image, 1)], [0.7, 0.6]),
    ]
    figure = checked(lambda: neighbor_figure(found, ("cat", "dog"), 1))
    assert "2 of 2 under attacked, 1 of 2 under control" in figure.alternative
    assert figure.rows[2] == ("control", "cat", "1", "cat", "0.700")


def test_queries_are_of_other_classes_than_the_target() -> None:
    labels = np.array([1, 1, 0, 2, 3])
    assert queries(labels, 1, 2).tolist() == [2, 3]
    assert queries(labels, None, 2).tolist() == [2, 0]
