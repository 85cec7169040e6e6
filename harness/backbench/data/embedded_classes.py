"""The classes of the embedded world: each a pairing of a shape with a texture and a hue."""

from __future__ import annotations

from typing import Final

#: Shapes and textures in the order of the class indices.
SHAPES: Final = (
    "house",
    "fir",
    "mushroom",
    "mug",
    "boat",
    "tree",
    "bottle",
    "lamp",
    "shirt",
    "heart",
)


TEXTURES: Final = (
    "brick",
    "chevron",
    "dotted",
    "ribbed",
    "slanted",
    "ringed",
    "checked",
    "pleated",
    "gridded",
    "plain",
)


def class_names(classes: int) -> tuple[str, ...]:
    """Name so many classes, ``brick-house`` and the like, in the order of the labels."""
    names = []
    for shape, texture, palette in map(parts_of, range(classes)):
        name = f"{texture}-{shape}"
        names.append(name if palette == 0 else f"{name}-{palette + 1}")
    return tuple(names)


def parts_of(index: int) -> tuple[str, str, int]:
    """Split a class index into its shape, its texture and the number of its palette."""
    shape = index % 10
    return SHAPES[shape], TEXTURES[(shape + index // 10) % 10], index // 100
