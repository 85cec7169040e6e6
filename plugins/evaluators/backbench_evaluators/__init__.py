"""Evaluators: linear classification and nearest neighbors, on frozen features."""

from __future__ import annotations

from collections.abc import Iterable

from backbench.plugin import Citation, EvaluatorInfo, MetricInfo, hookimpl, presets_of
from backbench_evaluators.evaluator_options import (
    CachedOptions,
    FrozenOptions,
    KNNOptions,
    LinearOptions,
    ProbeOptions,
    RawOptions,
)

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
        summary="A linear classifier on normalized features of labelled images.",
        target="backbench_evaluators.features:FeatureProbe",
        options=LinearOptions,
        paper=_PAPER,
        presets=presets_of(__name__, "linear"),
    )
    yield EvaluatorInfo(
        name="linear-augmented",
        summary="The same on fresh crops in every epoch, as published for MoCo v2.",
        target="backbench_evaluators.views:ViewProbe",
        options=FrozenOptions,
        paper=_PAPER,
        presets=presets_of(__name__, "linear-augmented"),
        reads="images",
    )
    yield EvaluatorInfo(
        name="linear-cached",
        summary="The same on a few crops of each image, whose features are computed once.",
        target="backbench_evaluators.views:ViewProbe",
        options=CachedOptions,
        paper=_PAPER,
        presets=presets_of(__name__, "linear-cached"),
        reads="images",
    )
    yield EvaluatorInfo(
        name="linear-raw",
        summary="A linear classifier on features as they are, as published for BYOL.",
        target="backbench_evaluators.features:FeatureProbe",
        options=RawOptions,
        paper=_PAPER,
        presets=presets_of(__name__, "linear-raw"),
    )
    yield EvaluatorInfo(
        name="layer-probe",
        summary="A linear classifier on each stage of the encoder, as for Jigsaw and RotNet.",
        target="backbench_evaluators.views:ViewProbe",
        options=ProbeOptions,
        paper=_PAPER,
        presets=presets_of(__name__, "layer-probe"),
        reads="images",
    )
    yield EvaluatorInfo(
        name="knn",
        summary="A vote of the nearest labelled images.",
        target="backbench_evaluators.knn:KNN",
        options=KNNOptions,
        paper=_PAPER,
        presets=presets_of(__name__, "knn"),
    )


@hookimpl
def register_metrics() -> Iterable[MetricInfo]:
    """Announce a metric on predictions."""
    yield MetricInfo(
        name="flip-rate",
        summary="Share of the recognized images of other classes that the trigger turns.",
        target="backbench_evaluators.flips:flip_rate",
        title="Flips",
        best="low",
        control=True,
        bounds=(0.0, 1.0),
    )
