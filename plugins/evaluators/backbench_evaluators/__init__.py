"""Evaluators: linear classification and nearest neighbours, on frozen features."""

from __future__ import annotations

from collections.abc import Iterable

from backbench.plugin import Citation, EvaluatorInfo, hookimpl
from backbench_evaluators.options import SMALL_KNN, SMALL_LINEAR, KNNOptions, LinearOptions

_PAPER = Citation(
    authors="Saha, Tejankar, Abbasi Koohpayegani and Pirsiavash",
    title="Backdoor attacks on self-supervised learning",
    venue="CVPR",
    year=2022,
    url="https://arxiv.org/abs/2105.10123",
)


@hookimpl
def register_evaluators() -> Iterable[EvaluatorInfo]:
    """Announce the evaluators of Saha et al. 2022."""
    yield EvaluatorInfo(
        name="linear",
        summary="A linear classifier on normalised features of labelled pictures.",
        target="backbench_evaluators.linear:Linear",
        options=LinearOptions,
        paper=_PAPER,
        presets={"small": SMALL_LINEAR},
    )
    yield EvaluatorInfo(
        name="knn",
        summary="A vote of the nearest labelled pictures.",
        target="backbench_evaluators.knn:KNN",
        options=KNNOptions,
        paper=_PAPER,
        presets={"small": SMALL_KNN},
    )
