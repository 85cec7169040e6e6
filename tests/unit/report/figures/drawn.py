"""What every figure must be."""

from __future__ import annotations

from collections.abc import Callable
from xml.etree import ElementTree as ET

from backbench.report.figures.figure import Figure


def checked(draw: Callable[[], Figure]) -> Figure:
    """Return a figure that is the same when drawn again, well formed, and has words and numbers."""
    figure = draw()
    assert draw() == figure, "drawn twice, two figures"
    assert figure.media_type == "image/svg+xml"
    root = ET.fromstring(figure.image)
    assert root.tag.endswith("svg")
    assert figure.title
    assert figure.caption.endswith(".")
    assert figure.alternative.endswith(".")
    assert {len(row) for row in figure.rows} <= {len(figure.columns)}
    return figure


def texts(figure: Figure) -> list[str]:
    """Return the texts that are written in a figure."""
    root = ET.fromstring(figure.image)
    return [one.text or "" for one in root.iter("{http://www.w3.org/2000/svg}text")]
