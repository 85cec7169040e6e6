"""Views of a method: the images that it gives, in the order of the images that they are of."""

from __future__ import annotations

import numpy as np
import torch

from backbench.plugin import Box
from backbench.report.figures.views import by_image, view_figure
from tests.unit.report.figures.drawn import checked


def test_views_are_put_with_their_images() -> None:
    first = torch.arange(3).div(255).view(3, 1, 1, 1).expand(3, 3, 2, 2)
    turned = torch.cat([first + 10 / 255, first + 20 / 255])
    labels = torch.zeros(3)
    found = by_image(([first, turned], labels), 3, np.array([2, 0]))
    assert [[int(view[0, 0, 0]) for view in views] for views in found] == [[2, 12, 22], [0, 10, 20]]


def test_the_figure_reports_the_trigger_visibility() -> None:
    image = np.zeros((4, 4, 3), dtype=np.uint8)
    shares = {"both views": 0.5, "one view": 0.375, "no view": 0.125}
    seen = [(image, (Box(0, 0, 2, 2),), [image, image])]
    figure = checked(lambda: view_figure(seen, "byol", shares))
    assert figure.rows == (("both views", "0.500"), ("one view", "0.375"), ("no view", "0.125"))
    assert "both views 0.500" in figure.alternative
    assert checked(lambda: view_figure(seen, "rotnet", None)).rows == ()
