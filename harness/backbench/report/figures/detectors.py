"""ROC of detectors, and the distribution of their scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np

from backbench.errors import BackbenchError, counted
from backbench.model import Cell, StageKind
from backbench.report.figures.canvas import (
    BLUE,
    RED,
    SKY,
    canvas,
    number,
    short,
    svg,
)
from backbench.report.figures.figure import Figure, Missing
from backbench.report.figures.opened import Opened
from backbench.results.detection import Flags, Scores, auroc, roc
from backbench.results.detectors import SCORES, Scored
from backbench.system.json_text import from_json

#: False positive rates at which the table has the true positive rate.
RATES: Final = (0.01, 0.05, 0.1, 0.2, 0.5)


def roc_figure(name: str, what: str, found: Mapping[str, tuple[Scores, Flags]]) -> Figure:
    """Draw the ROC of a detector.

    Args:
        name: The detector.
        what: The images that it looks for.
        found: Scores and what was to be found, (N,) each, by the encoder; at most two.
    """
    curves = {one: roc(*pair) for one, pair in found.items()}
    areas = {one: auroc(*pair) for one, pair in found.items()}
    rows = [("AUROC", *(number(area) for area in areas.values()))]
    rows += [
        (f"TPR at FPR {rate:g}", *(number(_at(curve, rate)) for curve in curves.values()))
        for rate in RATES
    ]
    said = [f"{area:.3f} on the {short(one, 40)} encoder" for one, area in areas.items()]
    total = len(next(iter(found.values()))[0])
    return Figure(
        f"roc-{name}",
        f"ROC of {short(name, 40)}",
        f"Share of {what} that are found against the share of clean images that are accused; "
        f"{counted(total, 'image')}, AUROC in brackets.",
        _curves(curves, areas),
        "image/svg+xml",
        f"ROC of the detector {short(name, 60)}: AUROC {', '.join(said)}.",
        ("", *found),
        tuple(rows),
    )


def _at(curve: tuple[Scores, Scores], rate: float) -> float:
    """Return the greatest true positive rate at a false positive rate of at most some value."""
    false, true = curve
    return float(true[false <= rate].max(initial=0))


def _curves(curves: Mapping[str, tuple[Scores, Scores]], areas: Mapping[str, float]) -> bytes:
    with canvas(3.4, 3.4) as figure:
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], color="#9a9a9b", lw=0.8)
        for (name, (false, true)), color, style in zip(
            curves.items(), (RED, BLUE), ("-", "--"), strict=False
        ):
            label = f"{short(name, 24)} ({areas[name]:.3f})"
            axes.plot(false, true, style, color=color, lw=1.4, label=label, drawstyle="default")
        axes.set_xlabel("false positive rate")
        axes.set_ylabel("true positive rate")
        axes.set_xlim(-0.01, 1.01)
        axes.set_ylim(-0.01, 1.01)
        axes.set_aspect("equal")
        axes.grid()
        axes.legend(loc="lower right")
        return svg(figure)


def score_figure(name: str, what: str, scores: Scores, positive: Flags) -> Figure:
    """Draw the distribution of a detector's scores; above 0 an image is rejected."""
    low, high = np.quantile(scores, [0.005, 0.995])
    groups = {"clean images": scores[~positive], what: scores[positive]}
    rows = tuple(
        (one, str(len(values)), *_quantiles(values), number(float((values > 0).mean())))
        for one, values in groups.items()
        if len(values)
    )
    rejected = [f"{row[-1]} of the {row[0]}" for row in rows]
    return Figure(
        f"scores-{name}",
        f"Scores of {short(name, 40)}",
        f"Distribution of the scores of {counted(len(scores), 'image')}, the middle 99 % of them; "
        "above 0, the dashed line, an image is rejected.",
        _histogram(groups, float(min(low, 0)), float(max(high, 0))),
        "image/svg+xml",
        f"Scores of the detector {short(name, 60)}: it rejects {' and '.join(rejected)}.",
        ("images", "n", "5 %", "median", "95 %", "share above 0"),
        rows,
    )


def _quantiles(values: Scores) -> list[str]:
    return [f"{one:.4g}" for one in np.quantile(values, [0.05, 0.5, 0.95])]


def _histogram(groups: Mapping[str, Scores], low: float, high: float) -> bytes:
    edges = np.linspace(low, high if high > low else low + 1, 41)
    with canvas(2.3) as figure:
        axes = figure.add_subplot()
        for (name, values), color in zip(groups.items(), (SKY, RED), strict=True):
            if len(values):
                shares = np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0] / len(values)
                axes.stairs(shares, edges, color=color, fill=color == SKY, lw=1.3, label=name)
        axes.axvline(0, color="#808081", lw=1, ls="--")
        axes.set_xlabel("score")
        axes.set_ylabel("share of images")
        axes.legend(loc="best")
        return svg(figure)


def detector_figures(opened: Opened, cell: Cell) -> Iterator[Figure | Missing]:
    """Yield the figures of the detectors of a cell: of triggered images, and of poisons."""
    for detection in cell.detections:
        stage = opened.plan.stages[detection.key]
        if stage.kind is not StageKind.DETECT or stage.plugin is None:
            continue
        name, what = stage.plugin.name, "triggered images"
        own, control = (_detected(opened, key) for key in detection)
        yield from _figures(name, what, {"attacked": own, "control": control})
    for key in cell.path:
        stage = opened.plan.stages[key]
        if stage.kind is StageKind.SANITIZE and stage.plugin is not None:
            found = _sanitized(opened, key)
            yield from _figures(stage.plugin.name, "poisoned images", {"attacked": found})


def _figures(
    name: str, what: str, found: Mapping[str, tuple[Scores, Flags] | None]
) -> Iterator[Figure | Missing]:
    known = {one: pair for one, pair in found.items() if pair is not None}
    own = found["attacked"]
    if own is None:
        yield Missing(
            f"ROC of {short(name, 40)}", "The scores of this detector are missing or damaged."
        )
        return
    both = {one: pair for one, pair in known.items() if pair[1].any() and not pair[1].all()}
    if both:
        yield roc_figure(name, what, both)
    yield score_figure(name, what, *own)


def _detected(opened: Opened, key: str | None) -> tuple[Scores, Flags] | None:
    content = None if key is None else opened.content(key, SCORES)
    try:
        found = None if content is None else Scored.read(content)
    except ValueError:
        return None
    return None if found is None or not len(found.scores) else (found.scores, found.triggered)


def _sanitized(opened: Opened, key: str) -> tuple[Scores, Flags] | None:
    """Return the scores of training images, and which of them are poisoned."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    content = opened.content(key, SCORES)
    poison = opened.plan.stages[key].inputs.get("poison")
    manifest = b"" if poison is None else opened.content(poison, "train.jsonl")
    if content is None or manifest is None:
        return None
    try:
        scores = load(content)["scores"].astype(np.float64)
        poisoned = np.zeros(len(scores), dtype=bool)
        poisoned[[int(from_json(line)["index"]) for line in manifest.splitlines()]] = True
    except (SafetensorError, BackbenchError, ValueError, KeyError, IndexError, TypeError):
        return None
    return (scores, poisoned) if scores.ndim == 1 and np.isfinite(scores).all() else None
