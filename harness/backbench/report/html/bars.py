"""Intervals drawn as bars, the control as a tick: inline SVG without a style of its own. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

from markupsafe import Markup

from backbench.results.statistics import Bounds, Summary

#: Width of a bar, and of one in a table of many columns, CSS pixels.
WIDE: Final = 112
NARROW: Final = 72

#: Height of a bar, and what is kept free at each end, CSS pixels.
_HEIGHT, _MARGIN = 14, 4

_SVG: Final = Markup('<svg class="bar" width="{}" height="{}" aria-hidden="true">{}</svg>')
_LINE: Final = Markup('<path class="{}" d="M{:.4g} {:g}{}"/>')
_POINT: Final = Markup('<circle class="mean" cx="{:.4g}" cy="{:g}" r="3"/>')


def domain_of(bounds: Bounds | None, found: Iterable[Summary]) -> Bounds:
    """Return the ends of the axis of a column.

    They are the metric's own bounds where it has both; else zero and the furthest of the numbers.
    """
    if bounds is not None and all(map(math.isfinite, bounds)):
        return bounds
    ends = [0.0]
    for one in found:
        ends += [one.mean, *(one.ci95 or ())]
    ends = [end for end in ends if math.isfinite(end)]
    low, high = min(ends), max(ends)
    return (low, high) if high > low else (low, low + 1.0)


def bar(summary: Summary, control: Summary | None, domain: Bounds, width: int = WIDE) -> Markup:
    """Draw a mean as a point on its 95 % interval, and the mean of its control as a tick.

    Args:
        summary: The number.
        control: That of the clean encoder; ``None`` without one.
        domain: The ends of the axis.
        width: CSS pixels.
    """
    middle = _HEIGHT / 2
    parts = [_LINE.format("axis", _MARGIN, middle, f"H{width - _MARGIN}")]
    if domain[0] < 0 < domain[1]:
        parts.append(_LINE.format("axis", _at(0.0, domain, width), 2, f"V{_HEIGHT - 2}"))
    if summary.ci95 is not None:
        low, high = (_at(end, domain, width) for end in summary.ci95)
        parts.append(_LINE.format("interval", low, middle, f"H{max(high, low + 1):.4g}"))
    if control is not None:
        parts.append(
            _LINE.format("control", _at(control.mean, domain, width), 1, f"V{_HEIGHT - 1}")
        )
    parts.append(_POINT.format(_at(summary.mean, domain, width), middle))
    return _SVG.format(width, _HEIGHT, Markup().join(parts))


def _at(value: float, domain: Bounds, width: int) -> float:
    """Return where a value lies, in pixels; what is beyond an end lies at it."""
    low, high = domain
    share = (value - low) / (high - low) if math.isfinite(value) else 0.0
    return _MARGIN + (width - 2 * _MARGIN) * min(1.0, max(0.0, share))
