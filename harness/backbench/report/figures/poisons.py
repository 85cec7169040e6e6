"""The trigger, and what it looks like on poisoned training images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from backbench.errors import counted
from backbench.images import Pixels
from backbench.model import Cell
from backbench.plugin import Box
from backbench.report.figures.canvas import (
    short,
)
from backbench.report.figures.encoders import encoders_of, training_of
from backbench.report.figures.figure import Figure, Missing
from backbench.report.figures.images import (
    NO_IMAGES,
    UNREADABLE,
    Poisoned,
    Shown,
    class_name,
    poisons_of,
    shared_inputs,
    triggered_images,
    why,
)
from backbench.report.figures.opened import Opened
from backbench.report.figures.tiles import Tile, sheet
from backbench.store.metadata import PoisonRecord

TRIGGER, POISONS = "Trigger", "Poisoned training images"

#: Number of poisons on the contact sheet, and of pairs in a row.
MOST, _PAIRS = 8, 2


def trigger_figure(shown: Shown, stealth: dict[str, float] | None = None) -> Figure:
    """Draw a trigger at its true size, enlarged, and as a difference.

    Args:
        shown: A validation image without and with it.
        stealth: Numbers about it, by name.
    """
    mark, box = shown.mark, shown.mark.box
    difference = np.abs(shown.triggered.astype(np.int16) - shown.clean)
    most = int(difference.max())
    factor = 255 / max(1, most)
    whole = (box.height, box.width) == shown.clean.shape[:2]
    tiles = [
        Tile(shown.clean, "clean"),
        Tile(shown.triggered, "triggered", () if whole else mark.boxes),
        Tile(
            (difference * factor).round().astype(np.uint8),
            f"difference ×{factor:.0f}" if factor > 1.5 else "difference",
        ),
    ]
    if not whole:
        tiles.insert(2, Tile(_cut(shown.triggered, box), "trigger enlarged"))
    size = f"{box.width} × {box.height}"
    high, wide = shown.clean.shape[:2]
    share = sum(one.width * one.height for one in mark.boxes) / (high * wide)
    rows = [
        ("width × height, px", size),
        ("image, px", f"{wide} × {high}"),
        ("copies", str(len(mark.boxes))),
        ("share of the image's area", f"{share:.3f}"),
        ("opacity", f"{mark.opacity:g}"),
        ("greatest change of a value, of 255", str(most)),
        ("mean change of a value, of 255", f"{difference.mean():.2f}"),
    ]
    rows += [(name, f"{value:.4g}") for name, value in (stealth or {}).items()]
    return Figure(
        "trigger",
        TRIGGER,
        f"A validation image without and with the trigger of {size} px, opacity "
        f"{mark.opacity:g}, and the difference of both. The last image is at its true size, one px "
        "a pixel.",
        sheet([tiles, [Tile(shown.triggered, "true size", native=True)]], kept=128),
        "image/svg+xml",
        f"A trigger of {size} px on an image of {wide} × {high} px: {share:.1%} of its area, "
        f"opacity {mark.opacity:g}, greatest change {most} of 255.",
        ("property", "value"),
        tuple(rows),
    )


def _cut(pixels: Pixels, box: Box) -> Pixels:
    return pixels[box.y : box.y + box.height, box.x : box.x + box.width]


def poison_figure(
    poisons: Sequence[Poisoned], classes: Sequence[str], record: PoisonRecord
) -> Figure:
    """Draw poisoned training images, each beside its original, with the trigger's boxes.

    Args:
        poisons: Some of the poisons.
        classes: Names of the classes.
        record: Metadata of the poison.
    """
    tiles: list[Tile | None] = []
    for one in poisons:
        label = class_name(classes, one.mark.label) if one.mark.before else "a part of it"
        before = None if one.before is None else Tile(one.before, label)
        tiles += [before, Tile(one.after, "poison", one.mark.boxes)]
    width = 2 * _PAIRS
    grid = [tiles[at : at + width] for at in range(0, len(tiles), width)]
    target = record.target_name or "none"
    rate = f"{record.rate_of_dataset:.3g} of the training set"
    if record.rate_of_target_class is not None:
        rate += f", {record.rate_of_target_class:.3g} of the target class"
    return Figure(
        "poisons",
        POISONS,
        f"{len(poisons)} of {counted(record.poisons, 'poison')} ({rate}), each at the right of the "
        "image that it replaces or is made of. Rectangles are the trigger's.",
        sheet(grid),
        "image/svg+xml",
        f"{len(poisons)} of {counted(record.poisons, 'poisoned training image')}, {rate}; target "
        f"class {short(target, 60)}; {record.added:,} of them added to the training set.",
        ("image", "class", "trigger: x, y, width, height", "opacity"),
        tuple(
            (
                one.mark.source,
                class_name(classes, one.mark.label),
                "; ".join(", ".join(map(str, box)) for box in one.mark.boxes) or "not shown",
                f"{one.mark.opacity:g}",
            )
            for one in poisons
        ),
    )


def trigger_figures(opened: Opened, cell: Cell) -> Iterator[Figure | Missing]:
    """Yield the trigger that a cell's evaluation shows."""
    encoders = encoders_of(opened, cell)
    poison, dataset = encoders.poison, encoders.dataset
    if poison is None:
        return
    if opened.store is None:
        yield Missing(TRIGGER, NO_IMAGES)
        return

    def draw() -> Figure:
        inputs = shared_inputs(opened, dataset, poison)
        record = inputs.task.record("poison")
        target, labels = record.of(PoisonRecord).target, inputs.val.labels
        index = int(np.argmax(labels != target))
        shown = triggered_images(inputs, np.array([index]))[0]
        stealth = {key: one for key, one in record.report.items() if key.startswith("trigger")}
        return trigger_figure(shown, stealth)

    try:
        yield opened.once(("trigger", poison), draw)
    except UNREADABLE as error:
        yield Missing(TRIGGER, why(error))


def poison_figures(opened: Opened, cell: Cell) -> Iterator[Figure | Missing]:
    """Yield the contact sheet of the poisons that a cell's encoder was trained on."""
    encoders = encoders_of(opened, cell)
    training = training_of(opened, encoders.own)
    read = {} if training is None else opened.plan.stages[training].inputs
    poison = read.get("poison")
    if poison is None:
        if encoders.poison is not None:
            yield Missing(POISONS, "The encoder was trained on no poisoned image.")
        return
    if opened.store is None:
        yield Missing(POISONS, NO_IMAGES)
        return

    def draw() -> Figure | Missing:
        inputs = shared_inputs(opened, read["dataset"], poison)
        found, _ = poisons_of(inputs, MOST)
        record = inputs.task.record("poison").of(PoisonRecord)
        if not found:
            return Missing(POISONS, "The attack poisons no training image.")
        return poison_figure(found, inputs.metadata.classes, record)

    try:
        yield opened.once(("poisons", poison), draw)
    except UNREADABLE as error:
        yield Missing(POISONS, why(error))
