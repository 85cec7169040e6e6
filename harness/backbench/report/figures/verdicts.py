"""Verdicts on encoders: the score of each, attacked beside clean."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from backbench.report.figures.canvas import BLUE, RED, canvas, number, short, svg
from backbench.report.figures.figure import Figure
from backbench.report.figures.opened import Opened
from backbench.results.verdicts import Judged, judged, scored


def verdict_figures(opened: Opened) -> Iterator[Figure]:
    """Yield the scores of each defense that inspects encoders, over all encoders of the plan."""
    by_defense: dict[tuple[str, str], list[Judged]] = {}
    for one in judged(opened.plan, opened.record_of):
        by_defense.setdefault((one.dataset, one.defense), []).append(one)
    several = len({dataset for dataset, _ in by_defense}) > 1
    for (dataset, defense), encoders in by_defense.items():
        yield verdict_figure(f"{defense} on {dataset}" if several else defense, encoders)


def verdict_figure(name: str, encoders: Sequence[Judged]) -> Figure:
    """Draw the scores of a defense's verdicts: a dot an encoder, a line a method.

    Args:
        name: The defense.
        encoders: The encoders and its verdicts.
    """
    metrics = {key: one.mean for key, one in scored(encoders).items()}
    attacked, clean = int(metrics["verdict/attacked"]), int(metrics["verdict/clean"])
    said = [
        f"{title} {metrics[key]:.3f}"
        for key, title in (("verdict/auroc", "AUROC"), ("verdict/accuracy", "accuracy"))
        if key in metrics
    ]
    return Figure(
        f"verdicts-{name.replace(' ', '-')}",
        f"Verdicts of {short(name, 60)}",
        f"Score of the verdict on each of {attacked:,} attacked and {clean:,} clean "
        "encoders; above 0, the dashed line, it accuses the encoder.",
        _drawn(encoders),
        "image/svg+xml",
        f"Verdicts of {short(name, 60)} on {attacked:,} attacked and {clean:,} clean encoders: "
        f"{', '.join(said)}.",
        ("method", "attack", "seed", "score"),
        tuple(
            (one.method, one.attack, str(one.seed), number(one.verdict.score)) for one in encoders
        ),
    )


def _drawn(encoders: Sequence[Judged]) -> bytes:
    methods = list(dict.fromkeys(one.method for one in encoders))
    with canvas(0.85 + 0.35 * len(methods)) as figure:
        axes = figure.add_subplot()
        for is_attacked, color, mark, shift in ((False, BLUE, "o", 0.16), (True, RED, "x", -0.16)):
            chosen = [one for one in encoders if one.attacked == is_attacked]
            if chosen:
                lines = np.array([methods.index(one.method) for one in chosen]) + shift
                scores = [one.verdict.score for one in chosen]
                label = "attacked" if is_attacked else "clean"
                axes.plot(scores, lines, mark, color=color, ms=5, alpha=0.8, label=label)
        axes.axvline(0, color="#808081", lw=1, ls="--")
        axes.set_yticks(range(len(methods)), [short(one) for one in methods])
        axes.set_ylim(len(methods) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("score of the verdict")
        axes.grid(axis="x")
        figure.legend(loc="outside upper left", ncols=2)
        return svg(figure)
