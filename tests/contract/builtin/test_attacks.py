"""The conformance kit over every built-in attack."""

# ruff: noqa: RUF012 - options are written as a plugin author writes them

from __future__ import annotations

import dataclasses

from backbench.testing import AttackContract, EncoderAttackContract, LearningAttackContract
from tests.contract.builtin.shared import TINY, record


class TestPatchTargeted(AttackContract):
    info = record("attack", "patch")
    options = {"target": "bee", "width": 8, "opacity": 0.8}


class TestPatchUntargeted(AttackContract):
    info = record("attack", "patch")
    options = {"mode": "untargeted", "rate": {"of": "dataset", "value": 0.1}, "width": 8}


class TestPatchOnImagesOfAnySize(AttackContract):
    info = record("attack", "patch")
    options = {"target": "ant", "rate": {"of": "count", "value": 3}, "width": 9}
    metadata = dataclasses.replace(AttackContract.metadata, size=None)


class TestPatchAcrossTheWholeImage(AttackContract):
    info = record("attack", "patch")
    options = {"target": "ant", "width": 48}
    metadata = dataclasses.replace(AttackContract.metadata, size=(48, 64))


class TestPatchNineTimes(AttackContract):
    info = record("attack", "patch")
    options = {
        "target": "ant",
        "width": 8,
        "train_placement": "multiple",
        "val_placement": "multiple",
        "val_opacity": 0.5,
        "jpeg_quality": 75,
    }


class TestPatchOfText(AttackContract):
    info = record("attack", "patch")
    options = {"target": "ant", "text": "hi", "text_size": 10, "val_placement": "center"}


class TestPatchPasted(AttackContract):
    info = record("attack", "patch")
    options = {"target": "ant", "width": 8, "blend": "paste"}


class TestCTRL(AttackContract):
    info = record("attack", "ctrl")
    options = {"target": "ant", "rate": {"of": "target_class", "value": 0.5}}


class TestCTRLOnImagesOfAnySize(AttackContract):
    info = record("attack", "ctrl")
    options = {
        "target": "bee",
        "rate": {"of": "count", "value": 3},
        "window": 16,
        "coefficients": [[7, 7]],
    }
    metadata = dataclasses.replace(AttackContract.metadata, size=None)


class TestNoisyAlignment(AttackContract):
    info = record("attack", "noisy-alignment")
    options = {
        "target": "ant",
        "rate": {"of": "count", "value": 6},
        "references": 3,
        "shadows": 4,
        "width": 8,
    }


class TestNoisyAlignmentSqueezed(AttackContract):
    info = record("attack", "noisy-alignment")
    options = {
        "target": "bee",
        "rate": {"of": "target_class", "value": 0.5},
        "replace": True,
        "canvas": "squeezed",
        "width": 6,
    }


class TestNoisyAlignmentOnImagesOfAnySize(AttackContract):
    info = record("attack", "noisy-alignment")
    options = {"target": "bee", "rate": {"of": "count", "value": 3}, "width": 8}
    metadata = dataclasses.replace(AttackContract.metadata, size=None)


class TestCorruptEncoder(AttackContract):
    info = record("attack", "corrupt-encoder")
    options = {"target": "ant", "rate": {"of": "count", "value": 4}, "width": 8}


class TestCorruptEncoderPlus(AttackContract):
    info = record("attack", "corrupt-encoder")
    options = {
        "target": "ant",
        "rate": {"of": "count", "value": 5},
        "support_ratio": 0.4,
        "canvas_ratio": 2.5,
        "width": 8,
    }
    metadata = dataclasses.replace(AttackContract.metadata, size=None)


class TestNoLabel(AttackContract):
    info = record("attack", "no-label")
    options = {"rate": {"of": "count", "value": 8}, "width": 8}


class TestNoLabelByClusters(AttackContract):
    info = record("attack", "no-label")
    options = {
        "rate": {"of": "count", "value": 8},
        "selection": "cluster",
        "clusters": 3,
        "width": 8,
    }


class TestBadEncoder(EncoderAttackContract):
    info = record("attack", "badencoder")
    options = {"target": "ant", "width": 6, "epochs": 2, "batch_size": 16, "references": 2}


class TestDRUPE(EncoderAttackContract):
    info = record("attack", "badencoder")
    options = {
        "target": "ant",
        "width": 6,
        "epochs": 7,
        "batch_size": 16,
        "references": 3,
        "preserve": True,
    }


class TestBLTO(LearningAttackContract):
    info = record("attack", "blto")
    options = {
        "target": "ant",
        "rate": {"of": "count", "value": 4},
        "width": 4,
        "restarts": 2,
        "steps": 2,
        "batch_size": 4,
        "surrogate": TINY | {"dim": 8, "hidden": 4},
    }
