"""Defenses of trainings, training sets and encoders, and verdicts on encoders."""

from __future__ import annotations

from collections.abc import Iterable

from backbench.plugin import Citation, DefenseInfo, hookimpl, presets_of
from backbench_defenses.decree_options import DecreeOptions
from backbench_defenses.defense_options import (
    CutMixOptions,
    DistillOptions,
    FinePruneOptions,
    LocalizedCroppingOptions,
    PatchSearchOptions,
)
from backbench_defenses.detector_options import BackdoorIDSOptions, DeDeOptions
from backbench_defenses.ssl_cleanse_options import CleanseOptions


@hookimpl
def register_defenses() -> Iterable[DefenseInfo]:
    """Announce the defenses."""
    yield DefenseInfo(
        name="distill",
        summary="A fresh student learns the encoder's similarities on clean images.",
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
    yield DefenseInfo(
        name="patch-search",
        summary="Finds the patch that draws images into a cluster, and drops what carries it.",
        target="backbench_defenses.patch_search:PatchSearchDefense",
        options=PatchSearchOptions,
        acts_on="dataset",
        paper=Citation(
            authors="Tejankar, Sanjabi, Wang, Wang, Firooz, Pirsiavash and Tan",
            title="Defending against patch-based backdoor attacks on self-supervised learning",
            venue="CVPR",
            year=2023,
            url="https://arxiv.org/abs/2304.01482",
        ),
        presets=presets_of(__name__, "patch-search"),
    )
    yield DefenseInfo(
        name="decree",
        summary="Accuses an encoder to which a small trigger makes all images alike.",
        target="backbench_defenses.decree:Decree",
        options=DecreeOptions,
        acts_on="model",
        paper=Citation(
            authors="Feng, Tao, Cheng, Shen, Xu, Liu, Zhang, Ma and Zhang",
            title="Detecting backdoors in pre-trained encoders",
            venue="CVPR",
            year=2023,
            url="https://arxiv.org/abs/2303.15180",
        ),
        presets=presets_of(__name__, "decree"),
    )
    yield DefenseInfo(
        name="ssl-cleanse",
        summary="Accuses an encoder of one of whose clusters the trigger is small; trains it away.",
        target="backbench_defenses.ssl_cleanse:SSLCleanse",
        options=CleanseOptions,
        acts_on=("model", "encoder"),
        passes=3,
        paper=Citation(
            authors="Zheng, Xue, Liu, Chen, Jiang and Lou",
            title="SSL-Cleanse: trojan detection and mitigation in self-supervised learning",
            venue="ECCV",
            year=2024,
            url="https://arxiv.org/abs/2303.09079",
        ),
        presets=presets_of(__name__, "ssl-cleanse"),
    )
    yield DefenseInfo(
        name="backdoor-ids",
        summary="Rejects images whose features jump while more and more of them is masked.",
        target="backbench_defenses.backdoor_ids:BackdoorIDS",
        options=BackdoorIDSOptions,
        acts_on="input",
        paper=Citation(
            authors="Huang, Li, Gao, Yan, Shi and Gao",
            title="BackdoorIDS: zero-shot backdoor detection for pretrained vision encoder",
            venue="arXiv",
            year=2026,
            url="https://arxiv.org/abs/2603.11664",
        ),
        presets=presets_of(__name__, "backdoor-ids"),
    )
    yield DefenseInfo(
        name="dede",
        summary="Rejects images that a decoder cannot make again of their features.",
        target="backbench_defenses.dede:DeDe",
        options=DeDeOptions,
        acts_on="input",
        learns=True,
        paper=Citation(
            authors="Hou, Li and Yao",
            title="DeDe: detecting backdoor samples for SSL encoders via decoders",
            venue="CVPR",
            year=2025,
            url="https://arxiv.org/abs/2411.16154",
        ),
        presets=presets_of(__name__, "dede"),
    )
    yield DefenseInfo(
        name="fine-prune",
        summary="Prunes the features that clean images leave idle, and trains the rest on them.",
        target="backbench_defenses.fine_prune:FinePrune",
        options=FinePruneOptions,
        acts_on="encoder",
        passes=2,
        paper=Citation(
            authors="Liu, Dolan-Gavitt and Garg",
            title="Fine-pruning: defending against backdooring attacks on deep neural networks",
            venue="RAID",
            year=2018,
            url="https://arxiv.org/abs/1805.12185",
        ),
        presets=presets_of(__name__, "fine-prune"),
    )
    yield DefenseInfo(
        name="cutmix",
        summary="Trains on views with a box of another image, and mixes the loss likewise.",
        target="backbench_defenses.cutmix:CutMix",
        options=CutMixOptions,
        acts_on="training",
        passes=2,
        paper=Citation(
            authors="Tejankar, Sanjabi, Wang, Wang, Firooz, Pirsiavash and Tan",
            title="Defending against patch-based backdoor attacks on self-supervised learning",
            venue="CVPR",
            year=2023,
            url="https://arxiv.org/abs/2304.01482",
        ),
        presets=presets_of(__name__, "cutmix"),
    )
    yield DefenseInfo(
        name="localized-cropping",
        summary="Crops both views of an image from about the same region.",
        target="backbench_defenses.localized_cropping:LocalizedCropping",
        options=LocalizedCroppingOptions,
        acts_on="training",
        paper=Citation(
            authors="Zhang, Liu, Jia and Gong",
            title="Data poisoning based backdoor attacks to contrastive learning",
            venue="CVPR",
            year=2024,
            url="https://arxiv.org/abs/2211.08229",
        ),
        presets=presets_of(__name__, "localized-cropping"),
    )
