"""Evaluators: linear classification and nearest neighbors, on frozen features."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from backbench.plugin import Citation, EvaluatorInfo, MetricInfo, Options, hookimpl, presets_of
from backbench_evaluators.evaluator_options import (
    CachedOptions,
    FineTuneOptions,
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

_SIMCLR = Citation(
    authors="Chen, Kornblith, Norouzi and Hinton",
    title="A simple framework for contrastive learning of visual representations",
    venue="ICML",
    year=2020,
    url="https://arxiv.org/abs/2002.05709",
)

_BACKDOORBENCH = Citation(
    authors="Wu, Chen, Zhang, Zhu, Wei, Yuan and Shen",
    title="BackdoorBench: a comprehensive benchmark of backdoor learning",
    venue="NeurIPS",
    year=2022,
    url="https://arxiv.org/abs/2206.12654",
)


@hookimpl
def register_evaluators() -> Iterable[EvaluatorInfo]:
    """Announce the evaluators of Saha et al. 2022."""
    linear = "A linear classifier on normalized features of labelled images."
    yield _info("linear", linear, "linear:FeatureProbe", LinearOptions)
    augmented = "The same on fresh crops in every epoch, as published for MoCo v2."
    yield _info("linear-augmented", augmented, "crops:CropProbe", FrozenOptions, reads="images")
    cached = "The same on a few crops of each image, whose features are computed once."
    yield _info("linear-cached", cached, "crops:CachedCropProbe", CachedOptions, reads="images")
    raw = "A linear classifier on features as they are, as published for BYOL."
    yield _info("linear-raw", raw, "linear:FeatureProbe", RawOptions)
    layers = "A linear classifier on each stage of the encoder, as for Jigsaw and RotNet."
    yield _info("layer-probe", layers, "layer_probe:StageProbe", ProbeOptions, reads="images")
    tuned = "A copy of the whole encoder and a linear classifier, trained on labelled images."
    yield _info(
        "fine-tune", tuned, "fine_tune:FineTune", FineTuneOptions, reads="images", paper=_SIMCLR
    )
    yield _info("knn", "A vote of the nearest labelled images.", "knn:KNN", KNNOptions)


def _info(
    name: str,
    summary: str,
    target: str,
    options: type[Options],
    *,
    reads: Literal["features", "images"] = "features",
    paper: Citation = _PAPER,
) -> EvaluatorInfo:
    return EvaluatorInfo(
        name=name,
        summary=summary,
        target=f"{__name__}.{target}",
        options=options,
        paper=paper,
        presets=presets_of(__name__, name),
        reads=reads,
    )


@hookimpl
def register_metrics() -> Iterable[MetricInfo]:
    """Announce metrics on predictions."""
    yield MetricInfo(
        name="flip-rate",
        summary="Share of the recognized images of other classes that the trigger turns.",
        target="backbench_evaluators.flip_rate:flip_rate",
        title="Flips",
        best="low",
        control=True,
        bounds=(0.0, 1.0),
    )
    removed = "ASR that a defense removes, less the clean accuracy that it costs."
    restored = "Triggered accuracy that a defense restores, less the clean accuracy that it costs."
    ratings = {"der": ("effectiveness", removed), "rir": ("robustness", restored)}
    for name, (function, summary) in ratings.items():
        yield MetricInfo(
            name=name,
            summary=summary,
            target=f"backbench_evaluators.paired_rows:{function}",
            title=name.upper(),
            best="high",
            bounds=(0.0, 1.0),
            reads="pairs",
            usual=False,
            paper=_BACKDOORBENCH,
        )
