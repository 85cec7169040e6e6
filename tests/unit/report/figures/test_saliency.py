"""Saliency: what matters to the score is found, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from backbench.plugin import Box
from backbench.report.figures.occlusion import Saliency, cosines, hidden, lead, occlusion
from backbench.report.figures.saliency import saliency_figure
from tests.unit.report.figures.drawn import checked

IMAGE = np.zeros((16, 16, 3), dtype=np.uint8)
IMAGE[2:4, 2:4] = 255
BOX = Box(2, 2, 2, 2)


def brightness(images) -> np.ndarray:
    return np.array([float((one[2:4, 2:4] == 255).mean()) for one in images])


def test_every_pixel_is_hidden_in_some_copy() -> None:
    copies, boxes = hidden(IMAGE)
    assert len(copies) == len(boxes) == 49
    assert (np.stack(copies) == 128).any(axis=0).all()
    assert (IMAGE == 128).sum() == 0


def test_the_part_that_matters_is_found() -> None:
    copies, boxes = hidden(IMAGE)
    found = occlusion("attacked", IMAGE, boxes, brightness([IMAGE, *copies]))
    assert found.score == 1
    assert found.drops[2:4, 2:4].min() > 0.5
    assert found.drops[10:, 10:].max() == 0
    assert found.inside([BOX]) > found.inside([Box(12, 12, 2, 2)]) == 0


def test_the_figure_says_how_much_lies_in_the_trigger() -> None:
    drops = np.zeros((16, 16))
    drops[2, 2], drops[9, 9] = 3, 1
    found = [[Saliency("attacked", drops, 0.5), Saliency("control", drops * 0, 0.25)]]
    figure = checked(lambda: saliency_figure([(IMAGE, "cat", [BOX])], found, "dog"))
    assert figure.rows == (
        ("cat", "attacked", "0.500", "3.000", "0.750"),
        ("cat", "control", "0.250", "0.000", "0.000"),
    )
    assert "0.75 under attacked, 0.00 under control" in figure.alternative
    assert "0.02 of the area" in figure.alternative


def test_the_lead_is_that_over_the_best_other_class() -> None:
    means = np.array([[1, 0], [0, 1]], dtype=np.float32)
    table = cosines(np.array([[0, 2], [3, 0]], dtype=np.float32), means)
    assert lead(table, 1) == pytest.approx([1, -1])
    assert lead(np.array([[1.0, 5.0, 3.0]], dtype=np.float32), 0) == pytest.approx([-4])
