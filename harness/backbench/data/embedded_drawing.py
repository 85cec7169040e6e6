"""Draw the embedded world: small images of made-up things, from numbers alone.

Every image shows one object (a house, a mug, a fir, ...) on a plain gray ground. The class is a
pairing of a shape with a surface texture and a loosely typical hue: 10 shapes x 10 textures x 2
palettes = 200 classes; class ``c`` is the same thing whatever the number of classes. Why the world
is as it is, docs/explanation/embedded-world.md explains.

Geometry is in fractions of the side and the surface in fractions of the object: the same world can
be drawn at 32, 64 or 224 pixels (object and ground agree, the grain is drawn anew for each size).

The numbers of an image come from a counter-based generator (Philox) keyed by seed, split and class,
in rows of fixed length, one row for an image: an image depends neither on how many others are drawn
nor on the number of classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from backbench.data.embedded_classes import parts_of

_Field = NDArray[np.float32]
_Pair = tuple[float, float]
_SPLITS: Final = {"train": 0, "val": 1}


#: Range of half the object's height, fractions of the image's side.
_HALF_SIZE: Final = (0.22, 0.32)
#: Largest tilt to either side, degrees.
_TILT_DEG: Final = 15.0
#: Largest stretch to either side, natural logarithm.
_ASPECT: Final = 0.12
#: Half-width of the triangular spread of hue about the class's own, turns / 2.
_HUE_SPREAD: Final = 0.06
#: Ranges of the object's saturation and brightness, 0..1.
_SATURATION: Final = (0.30, 0.55)
_VALUE: Final = (0.60, 0.90)
#: Range of the dark texture color's brightness relative to that of the light one.
_SHADE_RATIO: Final = (0.40, 0.60)
#: Range of the ground's gray level, 0..1, and the largest change of it across the image.
_GROUND: Final = (0.30, 0.70)
_GROUND_SLOPE: Final = 0.12
#: Half-width of the uniform noise of each pixel, gray levels 0..1.
_GRAIN: Final = 0.04
#: Range of texture periods in half an object.
_FREQUENCY: Final = (1.5, 2.1)
#: Least distance of the object's center from the border, in half sizes.
_MARGIN: Final = 0.85


# ---- shapes: signed fields in object coordinates, u to the right, v down, negative inside ----


def _box(u: _Field, v: _Field, center: _Pair, half: _Pair) -> _Field:
    field: _Field = np.maximum(np.abs(u - center[0]) - half[0], np.abs(v - center[1]) - half[1])
    return field


def _disc(u: _Field, v: _Field, center: _Pair, radius: float) -> _Field:
    field: _Field = np.hypot(u - center[0], v - center[1]) - radius
    return field


def _taper(u: _Field, v: _Field, rows: _Pair, half_widths: _Pair) -> _Field:
    """Make a trapezoid between two rows, with its half widths at the upper and the lower one."""
    top, bottom = rows
    slope = (half_widths[1] - half_widths[0]) / (bottom - top)
    side = (np.abs(u) - (half_widths[0] + slope * (v - top))) / float(np.hypot(1.0, slope))
    field: _Field = np.maximum(np.maximum(top - v, v - bottom), side)
    return field


def _house(u: _Field, v: _Field) -> _Field:
    return np.minimum(
        _box(u, v, (0, 0.42), (0.62, 0.52)), _taper(u, v, (-0.95, -0.05), (0.0, 0.95))
    )


def _fir(u: _Field, v: _Field) -> _Field:
    crown = np.minimum(
        _taper(u, v, (-1.0, 0.05), (0.0, 0.6)), _taper(u, v, (-0.3, 0.65), (0.2, 0.88))
    )
    return np.minimum(crown, _box(u, v, (0, 0.82), (0.15, 0.2)))


def _mushroom(u: _Field, v: _Field) -> _Field:
    cap = np.maximum(_disc(u, v, (0, 0.08), 0.95), v - 0.08)
    field: _Field = np.minimum(cap, _box(u, v, (0, 0.48), (0.27, 0.47)))
    return field


def _mug(u: _Field, v: _Field) -> _Field:
    ring = np.abs(_disc(u, v, (0.45, 0.1), 0.38)) - 0.12
    return np.minimum(_box(u, v, (-0.22, 0.1), (0.62, 0.75)), ring)


def _boat(u: _Field, v: _Field) -> _Field:
    hull = _taper(u, v, (0.38, 0.9), (0.98, 0.55))
    sail = np.maximum(_taper(u - 0.08, v, (-0.95, 0.25), (0.0, 0.95)), -0.02 - u)
    field: _Field = np.minimum(hull, np.minimum(sail, _box(u, v, (0, -0.2), (0.07, 0.65))))
    return field


def _tree(u: _Field, v: _Field) -> _Field:
    return np.minimum(_disc(u, v, (0, -0.36), 0.62), _box(u, v, (0, 0.58), (0.13, 0.42)))


def _bottle(u: _Field, v: _Field) -> _Field:
    neck = _box(u, v, (0, -0.6), (0.2, 0.4))
    return np.minimum(
        neck, np.minimum(_box(u, v, (0, 0.42), (0.52, 0.56)), _disc(u, v, (0, -0.1), 0.5))
    )


def _lamp(u: _Field, v: _Field) -> _Field:
    stand = np.minimum(_box(u, v, (0, 0.35), (0.1, 0.5)), _box(u, v, (0, 0.85), (0.55, 0.13)))
    return np.minimum(_taper(u, v, (-0.95, -0.1), (0.35, 0.85)), stand)


def _shirt(u: _Field, v: _Field) -> _Field:
    cloth = np.minimum(_box(u, v, (0, 0.2), (0.52, 0.76)), _box(u, v, (0, -0.5), (0.98, 0.27)))
    return np.maximum(cloth, -_disc(u, v, (0, -0.85), 0.28))


def _heart(u: _Field, v: _Field) -> _Field:
    lobes = _disc(np.abs(u), v, (0.43, -0.35), 0.5)
    return np.minimum(lobes, _taper(u, v, (-0.18, 0.95), (0.9, 0.0)))


_SHAPES: Final[dict[str, Callable[[_Field, _Field], _Field]]] = {
    "house": _house,
    "fir": _fir,
    "mushroom": _mushroom,
    "mug": _mug,
    "boat": _boat,
    "tree": _tree,
    "bottle": _bottle,
    "lamp": _lamp,
    "shirt": _shirt,
    "heart": _heart,
}


# ---- textures: 0..1 in object coordinates scaled to periods ----


def _wave(x: _Field) -> _Field:
    """Make a soft square wave of period 1 with values 0..1."""
    wave: _Field = np.clip(0.5 + 1.2 * np.sin(np.float32(2 * np.pi) * x), 0, 1)
    return wave


def _checks(u: _Field, v: _Field) -> _Field:
    field: _Field = np.abs(_wave(u * np.float32(0.8)) - _wave(v * np.float32(0.8)))
    return field


def _dots(u: _Field, v: _Field) -> _Field:
    r = np.hypot(u - np.round(u), v - np.round(v))
    return np.clip((np.float32(0.42) - r) * 6, 0, 1)


def _bricks(u: _Field, v: _Field) -> _Field:
    row = np.floor(v)
    x = u * np.float32(0.6) + np.float32(0.5) * (row % 2)
    joint = np.minimum(np.abs(v - np.round(v)), np.abs(x - np.round(x)) * np.float32(1.6))
    return np.clip((joint - np.float32(0.14)) * 9, 0, 1)


def _grid(u: _Field, v: _Field) -> _Field:
    line = np.minimum(np.abs(u - np.round(u)), np.abs(v - np.round(v)))
    return np.clip((np.float32(0.22) - line) * 8, 0, 1)


_TEXTURES: Final[dict[str, Callable[[_Field, _Field], _Field]]] = {
    "brick": _bricks,
    "chevron": lambda u, v: _wave(v + np.abs(u - np.round(u))),
    "dotted": _dots,
    "ribbed": lambda _u, v: _wave(v),
    "slanted": lambda u, v: _wave((u + v) * np.float32(0.75)),
    "ringed": lambda u, v: _wave(np.hypot(u, v)),
    "checked": _checks,
    "pleated": lambda u, _v: _wave(u),
    "gridded": _grid,
    "plain": lambda u, _v: np.full_like(u, 0.85),
}


# ---- drawing ----

_COLUMNS: Final = 20  # uniform numbers an image; more than are used, so that some are left to add
_BLOCK_PIXELS: Final = 1 << 20  # drawn at once: bounds the memory at any size


def render_split(
    split: str, *, classes: int, per_class: int, size: int, seed: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Draw a split, ``train`` or ``val``; they share no image.

    Args:
        split: Which one.
        classes: Number of classes, 2 to ``MAX_CLASSES``.
        per_class: Images of each class.
        size: Side of the square images, pixels.
        seed: Root seed of the world, not negative.

    Returns:
        Images (N, size, size, 3) and labels (N,), class by class, where N = classes x per_class.
    """
    images = np.empty((classes * per_class, size, size, 3), np.uint8)
    start = 0
    for index in range(classes):
        for block in _render_class(split, index, count=per_class, size=size, seed=seed):
            images[start : start + len(block)] = block
            start += len(block)
    return images, np.repeat(np.arange(classes, dtype=np.int64), per_class)


def _generator(seed: int, split: str, index: int, stream: int) -> np.random.Generator:
    entropy = np.random.SeedSequence([seed, _SPLITS[split], index, stream])
    return np.random.Generator(np.random.Philox(key=entropy.generate_state(2, np.uint64)))


def _between(uniform: _Field, bounds: _Pair) -> _Field:
    """Map numbers in 0..1 to a range."""
    span = np.float32(bounds[1] - bounds[0])
    scaled: _Field = np.float32(bounds[0]) + uniform * span
    return scaled


def _rgb(hue: _Field, saturation: _Field, value: _Field) -> _Field:
    """Turn hue (in turns), saturation and value, each (N,), into RGB (N, 3) in 0..1."""
    sector = (np.array([5, 3, 1], np.float32) + hue[:, None] * 6) % 6
    ramp = np.clip(np.minimum(sector, 4 - sector), 0, 1)
    rgb: _Field = (value[:, None] * (1 - saturation[:, None] * ramp)).astype(np.float32)
    return rgb


def _render_class(
    split: str, index: int, *, count: int, size: int, seed: int
) -> Iterator[NDArray[np.uint8]]:
    """Yield the ``count`` images of one class in blocks (n, size, size, 3)."""
    numbers = _generator(seed, split, index, 0).random((count, _COLUMNS), dtype=np.float32)
    grain_source = _generator(seed, split, index, 1)
    step = max(1, _BLOCK_PIXELS // size**2)
    for start in range(0, count, step):
        block = numbers[start : start + step]
        grain = grain_source.random((len(block), size, size, 1), dtype=np.float32)
        yield _draw(index, block.T, grain)


def _draw(index: int, draw: _Field, grain: _Field) -> NDArray[np.uint8]:
    """Draw images of one class, (n, size, size, 3).

    Args:
        index: The class.
        draw: Uniform numbers (``_COLUMNS``, n), a column for each image.
        grain: Uniform numbers (n, size, size, 1), one for each pixel.
    """
    size = grain.shape[1]
    shape, texture, palette = parts_of(index)
    axis = ((np.arange(size, dtype=np.float32) + np.float32(0.5)) / np.float32(size))[None]
    u, v, half = _object_frame(draw, axis)

    cover = np.clip(0.5 - _SHAPES[shape](u, v) * half * np.float32(size), 0, 1)
    periods = _cube(_between(draw[6], _FREQUENCY))
    loose = np.float32(texture != "ringed")  # rings stay centerd on the object
    ink = _TEXTURES[texture](
        u * periods + _cube(draw[7]) * loose, v * periods + _cube(draw[8]) * loose
    )

    own_hue = np.float32((index % 10) * 0.1 + 0.05 * palette)
    hue = own_hue + (draw[9] + draw[10] - 1) * np.float32(_HUE_SPREAD * 2)
    light = _rgb(hue, _between(draw[11], _SATURATION), _between(draw[12], _VALUE))
    dark = light * _between(draw[13], _SHADE_RATIO)[:, None]
    paint = dark[:, None, None] + ink[..., None] * (light - dark)[:, None, None]

    ground = _ground(draw, axis)[..., None]
    image = ground + cover[..., None] * (paint - ground)
    image += (grain - np.float32(0.5)) * np.float32(2 * _GRAIN)
    levels: NDArray[np.uint8] = (np.clip(image, 0, 1) * np.float32(255) + np.float32(0.5)).astype(
        np.uint8
    )
    return levels


def _cube(numbers: _Field) -> _Field:
    """View (n,) as (n, 1, 1)."""
    return numbers[:, None, None]


def _object_frame(draw: _Field, axis: _Field) -> tuple[_Field, _Field, _Field]:
    """Place the objects.

    Returns:
        Pixel coordinates u and v (n, size, size) in object units, and half sizes (n, 1, 1).
    """
    half = _between(draw[0], _HALF_SIZE)
    room = half * np.float32(_MARGIN)
    x = room + draw[1] * (1 - 2 * room)
    y = room + draw[2] * (1 - 2 * room)
    tilt = np.deg2rad(_between(draw[3], (-_TILT_DEG, _TILT_DEG))).astype(np.float32)
    mirror = np.where(draw[4] < 0.5, np.float32(-1), np.float32(1))
    stretch = _cube(np.exp(_between(draw[5], (-_ASPECT, _ASPECT))))
    dx = (axis - x[:, None])[:, None, :]
    dy = (axis - y[:, None])[:, :, None]
    cos, sin, scale = _cube(np.cos(tilt)), _cube(np.sin(tilt)), _cube(half)
    u = (dx * cos + dy * sin) * _cube(mirror) / (scale * stretch)
    v = (dy * cos - dx * sin) * stretch / scale
    return u, v, scale


def _ground(draw: _Field, axis: _Field) -> _Field:
    """Make the gray ground (n, size, size): one level, sloping gently in some direction."""
    level = _cube(_between(draw[14], _GROUND))
    turn = _cube(draw[15] * np.float32(2 * np.pi))
    slope = _cube(draw[16] * np.float32(_GROUND_SLOPE))
    centerd = axis - np.float32(0.5)
    ramp = centerd[:, None, :] * np.cos(turn) + centerd[:, :, None] * np.sin(turn)
    ground: _Field = (level + ramp * slope).astype(np.float32, copy=False)
    return ground
