"""The look of all figures: size, colors, fonts, and SVG files that are the same when drawn again.

A figure is as wide as a phone, 390 px, and has no background. Ink and rules have one color each,
which a rule inside the file changes for dark pages.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from backbench.errors import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

#: Colors that readers with any color vision tell apart. Source: Okabe and Ito 2008.
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY = "#CC79A7", "#56B4E9"

#: Color of text and axes, and of grids, on light pages; each becomes the other on dark pages.
INK, RULE = "#333334", "#c8c8c9"
_ON_DARK: Final = {INK: "#d8d8d9", RULE: "#4c4c4d"}

#: Width of a figure in inches of 96 px.
WIDTH: Final = 4.06

#: Left, right, bottom and top, inches.
Margins = tuple[float, float, float, float]

#: Characters that are shown of a name in a figure.
_SHOWN: Final = 18

_STYLE: Final[Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "backbench",
    "svg.image_inline": True,
    "text.parse_math": False,
    "axes.unicode_minus": False,
    "figure.dpi": 96,
    "savefig.dpi": 192,
    "savefig.transparent": True,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.labelsize": 8,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "xtick.major.width": 0.8,
    "ytick.major.width": 0.8,
    "grid.color": RULE,
    "grid.linewidth": 0.5,
    "axes.axisbelow": True,
    **dict.fromkeys(
        ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK
    ),
}


@contextmanager
def canvas(height: float, width: float = WIDTH, margins: Margins | None = None) -> Iterator[Figure]:
    """Give an empty figure; a user's own style does not count.

    Args:
        height: In inches.
        width: In inches.
        margins: Left, right, bottom and top of the axes in inches; by default measured, which takes
            as long as the drawing.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        if margins is None:
            yield Figure(figsize=(width, height), layout="constrained")
            return
        figure = Figure(figsize=(width, height))
        left, right, bottom, top = margins
        figure.subplots_adjust(left / width, bottom / height, 1 - right / width, 1 - top / height)
        yield figure


def svg(figure: Figure) -> bytes:
    """Return a figure of :func:`canvas` as an SVG file."""
    file = io.StringIO()
    figure.savefig(
        file, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type"))
    )
    return _smaller(file.getvalue()).encode()


def plain(axes: Axes) -> None:
    """Take away the frame and the ticks of an image."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def few_ticks(axis: Axis, most: int = 5) -> None:
    """Give an axis of counts a few ticks, all of them whole numbers."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(most, integer=True))


def short(name: str, most: int = _SHOWN) -> str:
    """Return a name for a label: nothing that is obeyed, one line, its end cut off."""
    text = " ".join(printable(name).split())
    return text if len(text) <= most else f"{text[: most - 1]}…"


def number(value: float | None, digits: int = 3) -> str:
    """Return a number for a table; a dash for none."""
    return "–" if value is None else f"{value:.{digits}f}"


def listed(parts: Sequence[str]) -> str:
    """Return parts as ``a, b and c``."""
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))


_NOT_NEEDED: Final = re.compile(
    r"<\?xml.*?\?>|<!DOCTYPE.*?>|<!--.*?-->|<metadata>.*?</metadata>", re.DOTALL
)
_FONT: Final = re.compile(r" font-family: [^;\"]*;?")
_GEOMETRY: Final = re.compile(r'(?<= )(d|transform|x|y|width|height)="([^"]*)"')
_LONG: Final = re.compile(r"\d+\.\d{2,}")
_DOT: Final = re.compile(r"M([\d.-]+ [\d.-]+)L\1(?=M|$)")
_GROUP: Final = re.compile(r"<g>|<g [^>]*[^/]>|</g>")


def _smaller(text: str) -> str:
    """Return an SVG file without what no reader needs, and with its rule for dark pages."""
    text = _NOT_NEEDED.sub("", text)
    text = _FONT.sub("", text)
    text = _GEOMETRY.sub(_rounded, text)
    text = re.sub(r"\s+(?=[<>/\n])|(?<=>)\s+", "", text)
    used = set(re.findall(r"#([\w-]+)", text))
    text = re.sub(r' id="([^"]*)"', lambda one: one[0] if one[1] in used else "", text)
    text = re.sub(r' transform="rotate\(-0 [^"]*"', "", text)
    text = _without_groups(text.replace("<g/>", ""))
    rules = "".join(
        f'[style*="{use}: {light}"]{{{use}:{dark}!important}}'
        for light, dark in _ON_DARK.items()
        for use in ("fill", "stroke")
    )
    font = "text{font-family:'DejaVu Sans',Verdana,sans-serif}"
    style = f"<style>{font}{dark_rules(rules)}</style>"
    return re.sub(r"(<svg[^>]*>)", rf"\1{style}", text, count=1)


def dark_rules(rules: str) -> str:
    """Return the rules of a style that count on dark pages; ``%s`` is the ink there."""
    return f"@media(prefers-color-scheme:dark){{{rules.replace('%s', _ON_DARK[INK])}}}"


def _rounded(found: re.Match[str]) -> str:
    name, text = found[1], " ".join(found[2].split())
    digits = 1 if name == "d" else 2
    text = _LONG.sub(lambda one: f"{float(one[0]):.{digits}f}", text)
    if name == "d":
        text = _DOT.sub(r"M\1h0", re.sub(r" ?([A-Za-z]) ?", r"\1", text))
    return f'{name}="{text}"'


def _without_groups(text: str) -> str:
    """Return an SVG file without the groups that have no attribute."""
    kept: list[bool] = []

    def tag(found: re.Match[str]) -> str:
        if found[0] != "</g>":
            kept.append(found[0] != "<g>")
            return found[0] if kept[-1] else ""
        return found[0] if kept.pop() else ""

    return _GROUP.sub(tag, text)
