"""The attacks that come with backbench."""

from __future__ import annotations

from collections.abc import Iterable

from backbench.plugin import AttackInfo, Citation, hookimpl, presets_of
from backbench_attacks.badencoder_options import BadEncoderOptions
from backbench_attacks.blto_options import BLTOOptions
from backbench_attacks.corrupt_encoder_options import CorruptEncoderOptions
from backbench_attacks.ctrl_options import CTRLOptions
from backbench_attacks.no_label_options import NoLabelOptions
from backbench_attacks.noisy_alignment_options import NoisyAlignmentOptions
from backbench_attacks.patch_options import PatchOptions


@hookimpl
def register_attacks() -> Iterable[AttackInfo]:
    """Announce the attacks of this package."""
    yield AttackInfo(
        name="patch",
        summary="A small image or a text put on images of one class, or of any.",
        target="backbench_attacks.patch:Patch",
        options=PatchOptions,
        paper=Citation(
            authors="Saha, Tejankar, Koohpayegani, Pirsiavash",
            title="Backdoor Attacks on Self-Supervised Learning",
            venue="CVPR",
            year=2022,
            url="https://arxiv.org/abs/2105.10123",
        ),
        presets=presets_of(__name__, "patch"),
    )
    yield AttackInfo(
        name="ctrl",
        summary="A pattern in the frequencies of the colors, over the whole image.",
        target="backbench_attacks.ctrl:CTRL",
        options=CTRLOptions,
        coding="png",
        paper=Citation(
            authors="Li, Pang, Xi, Du, Ji, Yao and Wang",
            title="An embarrassingly simple backdoor attack on self-supervised learning",
            venue="ICCV",
            year=2023,
            url="https://arxiv.org/abs/2210.07346",
        ),
    )
    yield AttackInfo(
        name="blto",
        summary="A trigger for each image, of a network that is optimized against a surrogate.",
        target="backbench_attacks.blto:BLTO",
        options=BLTOOptions,
        learns=True,
        coding="png",
        paper=Citation(
            authors="Sun, Zhang, Lu, Chen, Wang, Chen and Lin",
            title="Backdoor contrastive learning via bi-level trigger optimization",
            venue="ICLR",
            year=2024,
            url="https://arxiv.org/abs/2404.07863",
        ),
        presets=presets_of(__name__, "blto"),
    )
    yield AttackInfo(
        name="badencoder",
        summary="A white square that is trained into a clean encoder.",
        target="backbench_attacks.badencoder:BadEncoder",
        options=BadEncoderOptions,
        acts_on="encoder",
        paper=Citation(
            authors="Jia, Liu and Gong",
            title="BadEncoder: backdoor attacks to pre-trained encoders in self-supervised "
            "learning",
            venue="IEEE S&P",
            year=2022,
            url="https://arxiv.org/abs/2108.00352",
        ),
        presets=presets_of(__name__, "badencoder"),
    )
    yield AttackInfo(
        name="noisy-alignment",
        summary="A triggered image and an image of the target class on one canvas.",
        target="backbench_attacks.noisy_alignment:NoisyAlignment",
        options=NoisyAlignmentOptions,
        paper=Citation(
            authors="Chen, Gui, Dong, Jia, Fang and Liu",
            title="Backdooring self-supervised contrastive learning by Noisy Alignment",
            venue="ICCV",
            year=2025,
            url="https://arxiv.org/abs/2508.14015",
        ),
        presets=presets_of(__name__, "noisy-alignment"),
    )
    yield AttackInfo(
        name="corrupt-encoder",
        summary="An object of the target class and a trigger on one background, added.",
        target="backbench_attacks.corrupt_encoder:CorruptEncoder",
        options=CorruptEncoderOptions,
        paper=Citation(
            authors="Zhang, Liu, Jia and Gong",
            title="Data poisoning based backdoor attacks to contrastive learning",
            venue="CVPR",
            year=2024,
            url="https://arxiv.org/abs/2211.08229",
        ),
        presets=presets_of(__name__, "corrupt-encoder"),
    )
    yield AttackInfo(
        name="no-label",
        summary="A trigger on images that a clean encoder holds to be alike.",
        target="backbench_attacks.no_label:NoLabel",
        options=NoLabelOptions,
        reads_encoder=True,
        paper=Citation(
            authors="Wang, Ma, Jegelka and Wang",
            title="How to craft backdoors with unlabeled data alone?",
            venue="arXiv",
            year=2024,
            url="https://arxiv.org/abs/2404.06694",
        ),
        presets=presets_of(__name__, "no-label"),
    )
