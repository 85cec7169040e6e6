"""The embedded world: drawn objects, one an image, made from numbers alone.

Placeholder docstring (finished once the figures are measured).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

REVISION: Final = 1
MAX_CLASSES: Final = 200

_Field = NDArray[np.float32]
_SPLITS: Final = {"train": 0, "val": 1, "test": 2}


@dataclasses.dataclass(frozen=True)
class Style:
    """The free numbers of the world (lengths are fractions of the image's side)."""

    half_size: tuple[float, float] = (0.20, 0.30)
    tilt_deg: float = 15.0
    aspect: float = 0.12
    hue_spread: float = 0.06
    saturation: tuple[float, float] = (0.30, 0.55)
    value: tuple[float, float] = (0.60, 0.90)
    shade_ratio: tuple[float, float] = (0.40, 0.60)
    ground: tuple[float, float] = (0.30, 0.70)
    ground_slope: float = 0.12
    grain: float = 0.04
    frequency: tuple[float, float] = (1.5, 2.1)
    margin: float = 0.85


STYLE: Final = Style()


# ---- shapes: signed fields in object coordinates, u to the right, v down, negative inside ----


def _box(u: _Field, v: _Field, x: float, y: float, half_w: float, half_h: float) -> _Field:
    return np.maximum(np.abs(u - x) - half_w, np.abs(v - y) - half_h)


def _disc(u: _Field, v: _Field, x: float, y: float, radius: float) -> _Field:
    return np.hypot(u - x, v - y) - radius


def _taper(u: _Field, v: _Field, top: float, bottom: float, w_top: float, w_bottom: float) -> _Field:
    slope = (w_bottom - w_top) / (bottom - top)
    side = (np.abs(u) - (w_top + slope * (v - top))) / float(np.hypot(1.0, slope))
    return np.maximum(np.maximum(top - v, v - bottom), side)


def _house(u: _Field, v: _Field) -> _Field:
    return np.minimum(_box(u, v, 0, 0.42, 0.62, 0.52), _taper(u, v, -0.95, -0.05, 0.0, 0.95))


def _fir(u: _Field, v: _Field) -> _Field:
    crown = np.minimum(_taper(u, v, -1.0, 0.05, 0.0, 0.6), _taper(u, v, -0.3, 0.65, 0.2, 0.88))
    return np.minimum(crown, _box(u, v, 0, 0.82, 0.15, 0.2))


def _mushroom(u: _Field, v: _Field) -> _Field:
    cap = np.maximum(_disc(u, v, 0, 0.08, 0.95), v - 0.08)
    return np.minimum(cap, _box(u, v, 0, 0.48, 0.27, 0.47))


def _mug(u: _Field, v: _Field) -> _Field:
    ring = np.abs(_disc(u, v, 0.45, 0.1, 0.38)) - 0.12
    return np.minimum(_box(u, v, -0.22, 0.1, 0.62, 0.75), ring)


def _boat(u: _Field, v: _Field) -> _Field:
    hull = _taper(u, v, 0.38, 0.9, 0.98, 0.55)
    sail = np.maximum(_taper(u - 0.08, v, -0.95, 0.25, 0.0, 0.95), -0.02 - u)
    return np.minimum(hull, np.minimum(sail, _box(u, v, 0, -0.2, 0.07, 0.65)))


def _tree(u: _Field, v: _Field) -> _Field:
    return np.minimum(_disc(u, v, 0, -0.36, 0.62), _box(u, v, 0, 0.58, 0.13, 0.42))


def _bottle(u: _Field, v: _Field) -> _Field:
    neck = _box(u, v, 0, -0.6, 0.2, 0.4)
    return np.minimum(neck, np.minimum(_box(u, v, 0, 0.42, 0.52, 0.56), _disc(u, v, 0, -0.1, 0.5)))


def _lamp(u: _Field, v: _Field) -> _Field:
    stand = np.minimum(_box(u, v, 0, 0.35, 0.1, 0.5), _box(u, v, 0, 0.85, 0.55, 0.13))
    return np.minimum(_taper(u, v, -0.95, -0.1, 0.35, 0.85), stand)


def _shirt(u: _Field, v: _Field) -> _Field:
    cloth = np.minimum(_box(u, v, 0, 0.2, 0.52, 0.76), _box(u, v, 0, -0.5, 0.98, 0.27))
    return np.maximum(cloth, -_disc(u, v, 0, -0.85, 0.28))


def _heart(u: _Field, v: _Field) -> _Field:
    lobes = _disc(np.abs(u), v, 0.43, -0.35, 0.5)
    return np.minimum(lobes, _taper(u, v, -0.18, 0.95, 0.9, 0.0))


_SHAPES: Final[tuple[tuple[str, Callable[[_Field, _Field], _Field]], ...]] = (
    ("house", _house),
    ("fir", _fir),
    ("mushroom", _mushroom),
    ("mug", _mug),
    ("boat", _boat),
    ("tree", _tree),
    ("bottle", _bottle),
    ("lamp", _lamp),
    ("shirt", _shirt),
    ("heart", _heart),
)


# ---- textures: 0..1 in object coordinates scaled to periods ----


def _wave(x: _Field) -> _Field:
    """Make a soft square wave of period 1 with values 0..1."""
    out: _Field = np.clip(0.5 + 1.2 * np.sin(np.float32(2 * np.pi) * x), 0, 1)
    return out


def _rows(u: _Field, v: _Field) -> _Field:
    return _wave(v)


def _columns(u: _Field, v: _Field) -> _Field:
    return _wave(u)


def _slanted(u: _Field, v: _Field) -> _Field:
    return _wave((u + v) * np.float32(0.75))


def _checks(u: _Field, v: _Field) -> _Field:
    return np.abs(_wave(u * np.float32(0.8)) - _wave(v * np.float32(0.8)))


def _dots(u: _Field, v: _Field) -> _Field:
    r = np.hypot(u - np.round(u), v - np.round(v))
    return np.clip((np.float32(0.42) - r) * 6, 0, 1)


def _rings(u: _Field, v: _Field) -> _Field:
    return _wave(np.hypot(u, v))


def _chevrons(u: _Field, v: _Field) -> _Field:
    return _wave(v + np.abs(u - np.round(u)))


def _bricks(u: _Field, v: _Field) -> _Field:
    row = np.floor(v)
    x = u * np.float32(0.6) + np.float32(0.5) * (row % 2)
    joint = np.minimum(np.abs(v - np.round(v)), np.abs(x - np.round(x)) * np.float32(1.6))
    return np.clip((joint - np.float32(0.14)) * 9, 0, 1)


def _grid(u: _Field, v: _Field) -> _Field:
    line = np.minimum(np.abs(u - np.round(u)), np.abs(v - np.round(v)))
    return np.clip((np.float32(0.22) - line) * 8, 0, 1)


def _plain(u: _Field, v: _Field) -> _Field:
    return np.full_like(u, 0.85)


_TEXTURES: Final[tuple[tuple[str, Callable[[_Field, _Field], _Field]], ...]] = (
    ("brick", _bricks),
    ("chevron", _chevrons),
    ("dotted", _dots),
    ("ribbed", _rows),
    ("slanted", _slanted),
    ("ringed", _rings),
    ("checked", _checks),
    ("pleated", _columns),
    ("gridded", _grid),
    ("plain", _plain),
)


def class_names(classes: int) -> tuple[str, ...]:
    """Name the classes of a world.

    Args:
        classes: How many classes, 2 to ``MAX_CLASSES``.
    """
    return tuple("-".join(p) for p in map(_parts, range(classes)))


def _parts(index: int) -> tuple[str, ...]:
    shape, texture, palette = _recipe(index)
    name = (_TEXTURES[texture][0], _SHAPES[shape][0])
    return name if palette == 0 else (*name, str(palette + 1))


def _recipe(index: int) -> tuple[int, int, int]:
    shape = index % 10
    return shape, (shape + index // 10) % 10, index // 100


def _uniforms(seed: int, split: str, index: int, stream: int, shape: tuple[int, ...]) -> _Field:
    key = np.random.SeedSequence([seed, _SPLITS[split], index, stream]).generate_state(2, np.uint64)
    generator = np.random.Generator(np.random.Philox(key=key))
    return generator.random(shape, dtype=np.float32)


def _hsv(hue: _Field, saturation: _Field, value: _Field) -> _Field:
    """Turn (N,) hue, saturation, value in 0..1 into (N, 3) RGB."""
    k = (np.array([5, 3, 1], np.float32) + hue[:, None] * 6) % 6
    ramp = np.clip(np.minimum(k, 4 - k), 0, 1)
    out: _Field = value[:, None] * (1 - saturation[:, None] * ramp)
    return out.astype(np.float32)


def _between(u: _Field, bounds: tuple[float, float]) -> _Field:
    return np.float32(bounds[0]) + u * np.float32(bounds[1] - bounds[0])


def _render_class(
    split: str, index: int, count: int, size: int, seed: int, style: Style
) -> NDArray[np.uint8]:
    shape, texture, palette = _recipe(index)
    draw = _uniforms(seed, split, index, 0, (count, 20)).T
    half = _between(draw[0], style.half_size)
    room = half * np.float32(style.margin)
    x = room + draw[1] * (1 - 2 * room)
    y = room + draw[2] * (1 - 2 * room)
    tilt = np.deg2rad(_between(draw[3], (-style.tilt_deg, style.tilt_deg))).astype(np.float32)
    mirror = np.where(draw[4] < 0.5, np.float32(-1), np.float32(1))
    stretch = np.exp(_between(draw[5], (-style.aspect, style.aspect)))
    period = _between(draw[6], style.frequency)

    axis = ((np.arange(size, dtype=np.float32) + np.float32(0.5)) / np.float32(size))[None]
    dx = (axis - x[:, None])[:, None, :]
    dy = (axis - y[:, None])[:, :, None]
    cos, sin = np.cos(tilt)[:, None, None], np.sin(tilt)[:, None, None]
    scale = half[:, None, None]
    u = (dx * cos + dy * sin) * mirror[:, None, None] / (scale * stretch[:, None, None])
    v = (dy * cos - dx * sin) * stretch[:, None, None] / scale

    cover = np.clip(0.5 - _SHAPES[shape][1](u, v) * scale * np.float32(size), 0, 1)
    periods = period[:, None, None]
    centred = texture == 5
    shift_u = 0 if centred else draw[7][:, None, None]
    shift_v = 0 if centred else draw[8][:, None, None]
    ink = _TEXTURES[texture][1](u * periods + shift_u, v * periods + shift_v)

    hue = np.float32((index % 10) * 0.1 + 0.05 * palette) + (draw[9] + draw[10] - 1) * np.float32(
        style.hue_spread * 2
    )
    saturation = _between(draw[11], style.saturation)
    value = _between(draw[12], style.value)
    light = _hsv(hue, saturation, value)
    dark = light * _between(draw[13], style.shade_ratio)[:, None]
    level = _between(draw[14], style.ground)
    turn = draw[15] * np.float32(2 * np.pi)
    slope = draw[16] * np.float32(style.ground_slope)
    ramp = (axis - np.float32(0.5))[:, None, :] * np.cos(turn)[:, None, None] + (
        axis - np.float32(0.5)
    )[:, :, None] * np.sin(turn)[:, None, None]
    ground = level[:, None, None] + ramp * slope[:, None, None]

    paint = dark[:, None, None] + ink[..., None] * (light - dark)[:, None, None]
    image = ground[..., None] + cover[..., None] * (paint - ground[..., None])
    grain = _uniforms(seed, split, index, 1, (count, size, size, 1)) - np.float32(0.5)
    image += grain * np.float32(2 * style.grain)
    return (np.clip(image, 0, 1) * np.float32(255) + np.float32(0.5)).astype(np.uint8)


def render_split(
    split: str, *, classes: int, per_class: int, size: int, seed: int, style: Style = STYLE
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Draw one split of the world.

    Args:
        split: ``train``, ``val`` or ``test``.
        classes: How many classes, 2 to ``MAX_CLASSES``.
        per_class: Images a class.
        size: Side of the square images, pixels.
        seed: Root seed of the world.

    Returns:
        Images (N, size, size, 3) and labels (N,), class by class, N = classes x per_class.
    """
    images = np.concatenate(
        [_render_class(split, c, per_class, size, seed, style) for c in range(classes)]
    )
    return images, np.repeat(np.arange(classes, dtype=np.int64), per_class)
