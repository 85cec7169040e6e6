"""Self-supervised methods: MoCo v2, BYOL, SimCLR, SimSiam, Jigsaw, RotNet."""

from __future__ import annotations

from collections.abc import Iterable

from backbench.plugin import Citation, SSLMethodInfo, hookimpl, presets_of
from backbench_ssl.method_options import (
    BYOLOptions,
    JigsawOptions,
    MoCoOptions,
    RotNetOptions,
    SimCLROptions,
    SimSiamOptions,
)


@hookimpl
def register_ssl_methods() -> Iterable[SSLMethodInfo]:
    """Announce the four methods of Saha et al. 2022, and two of later attacks."""
    yield SSLMethodInfo(
        name="moco-v2",
        summary="Contrasts an image's two views with a queue of others'.",
        target="backbench_ssl.moco:MoCo",
        options=MoCoOptions,
        passes=2,
        paper=Citation(
            authors="Chen, Fan, Girshick and He",
            title="Improved baselines with momentum contrastive learning",
            venue="arXiv",
            year=2020,
            url="https://arxiv.org/abs/2003.04297",
        ),
        presets=presets_of(__name__, "moco-v2"),
    )
    yield SSLMethodInfo(
        name="byol",
        summary="Predicts what a slow average of itself sees in the other view.",
        target="backbench_ssl.byol:BYOL",
        options=BYOLOptions,
        passes=4,
        paper=Citation(
            authors="Grill et al.",
            title="Bootstrap your own latent: a new approach to self-supervised learning",
            venue="NeurIPS",
            year=2020,
            url="https://arxiv.org/abs/2006.07733",
        ),
        presets=presets_of(__name__, "byol"),
    )
    yield SSLMethodInfo(
        name="simclr",
        summary="Contrasts an image's two views with all other views of the batch.",
        target="backbench_ssl.simclr:SimCLR",
        options=SimCLROptions,
        passes=2,
        paper=Citation(
            authors="Chen, Kornblith, Norouzi and Hinton",
            title="A simple framework for contrastive learning of visual representations",
            venue="ICML",
            year=2020,
            url="https://arxiv.org/abs/2002.05709",
        ),
        presets=presets_of(__name__, "simclr"),
    )
    yield SSLMethodInfo(
        name="simsiam",
        summary="Predicts what it sees itself in the other view, without an average.",
        target="backbench_ssl.simsiam:SimSiam",
        options=SimSiamOptions,
        passes=2,
        paper=Citation(
            authors="Chen and He",
            title="Exploring simple Siamese representation learning",
            venue="CVPR",
            year=2021,
            url="https://arxiv.org/abs/2011.10566",
        ),
        presets=presets_of(__name__, "simsiam"),
    )
    yield SSLMethodInfo(
        name="jigsaw",
        summary="Says which permutation of its nine tiles an image was given.",
        target="backbench_ssl.jigsaw:Jigsaw",
        options=JigsawOptions,
        passes=9,
        paper=Citation(
            authors="Noroozi and Favaro",
            title="Unsupervised learning of visual representations by solving jigsaw puzzles",
            venue="ECCV",
            year=2016,
            url="https://arxiv.org/abs/1603.09246",
        ),
        presets=presets_of(__name__, "jigsaw"),
    )
    yield SSLMethodInfo(
        name="rotnet",
        summary="Says by which quarter turn an image was rotated.",
        target="backbench_ssl.rotnet:RotNet",
        options=RotNetOptions,
        passes=4,
        paper=Citation(
            authors="Gidaris, Singh and Komodakis",
            title="Unsupervised representation learning by predicting image rotations",
            venue="ICLR",
            year=2018,
            url="https://arxiv.org/abs/1803.07728",
        ),
        presets=presets_of(__name__, "rotnet"),
    )
