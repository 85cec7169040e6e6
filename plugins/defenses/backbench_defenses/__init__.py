"""Defenses: distillation of a poisoned encoder on clean pictures."""

from __future__ import annotations

from collections.abc import Iterable

from backbench.plugin import Citation, DefenseInfo, hookimpl, presets_of
from backbench_defenses.options import DistillOptions


@hookimpl
def register_defenses() -> Iterable[DefenseInfo]:
    """Announce the defense of Saha et al. 2022."""
    yield DefenseInfo(
        name="distill",
        summary="A fresh student learns the encoder's similarities on clean pictures.",
        target="backbench_defenses.distill:Distill",
        options=DistillOptions,
        acts_on="encoder",
        passes=3,
        paper=Citation(
            authors="Abbasi Koohpayegani, Tejankar and Pirsiavash",
            title="CompRess: self-supervised learning by compressing representations",
            venue="NeurIPS",
            year=2020,
            url="https://arxiv.org/abs/2010.14713",
        ),
        presets=presets_of(__name__, "distill"),
    )
