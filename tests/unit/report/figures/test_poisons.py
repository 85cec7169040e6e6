"""The trigger and the contact sheet: the numbers are those of images and manifest."""

from __future__ import annotations

import numpy as np

from backbench.plugin import Box
from backbench.poison.manifest import ManifestEntry
from backbench.report.figures.images import Poisoned, Shown
from backbench.report.figures.poisons import poison_figure, trigger_figure
from backbench.store.metadata import PoisonRecord
from tests.unit.report.figures.drawn import checked

CLEAN = np.full((8, 16, 3), 50, dtype=np.uint8)


def mark(*boxes: Box, label: int = 0) -> ManifestEntry:
    return ManifestEntry(3, "train/3.png", label, "0", "1", boxes, 0.5, 7)


def stamped(box: Box) -> np.ndarray:
    pixels = CLEAN.copy()
    pixels[box.y : box.y + box.height, box.x : box.x + box.width] += 100
    return pixels


def test_a_trigger_is_described_by_its_box_and_its_change() -> None:
    box = Box(2, 3, 4, 2)
    shown = Shown(CLEAN, stamped(box), mark(box))
    figure = checked(lambda: trigger_figure(shown, {"trigger_psnr": 12.5}))
    rows = dict(figure.rows)
    assert rows["width × height, px"] == "4 × 2"
    assert rows["share of the image's area"] == "0.062"
    assert rows["greatest change of a value, of 255"] == "100"
    assert rows["mean change of a value, of 255"] == "6.25"
    assert rows["trigger_psnr"] == "12.5"
    assert "difference ×3" in figure.image.decode()


def test_a_trigger_on_the_whole_image_is_not_cut_out() -> None:
    box = Box(0, 0, 16, 8)
    figure = trigger_figure(Shown(CLEAN, stamped(box), mark(box)))
    assert "trigger enlarged" not in figure.image.decode()


def test_a_contact_sheet_lists_the_boxes_and_the_rate() -> None:
    box = Box(2, 3, 4, 2)
    poisons = [
        Poisoned(CLEAN, stamped(box), mark(box)),
        Poisoned(None, stamped(box), mark(label=-1)),
    ]
    record = PoisonRecord(1, "dog", 5, 0.25, 0.5, 2, added=1)
    figure = checked(lambda: poison_figure(poisons, ("cat", "dog"), record))
    assert figure.rows == (
        ("train/3.png", "cat", "2, 3, 4, 2", "0.5"),
        ("train/3.png", "no class", "not shown", "0.5"),
    )
    assert "2 of 5 poisoned training images, 0.25 of the training set" in figure.alternative
    assert "1 of them added" in figure.alternative
