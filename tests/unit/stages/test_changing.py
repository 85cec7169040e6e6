"""The encoder that a plugin gave, against the encoder that it was given."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch

from backbench.errors import ResultError
from backbench.nn import Encoder, EncoderSpec
from backbench.stages.changing import Changed, changed_by


def tiny_encoder() -> Encoder:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = {"name": "tiny-resnet", "widths": [4], "strides": [1], "stem_width": 4}
        return Encoder(EncoderSpec(backbone, 4, (0.5,) * 3, (0.25,) * 3))


def with_another_mean(encoder: Encoder) -> Encoder:
    changed = copy.deepcopy(encoder)
    next(one for name, one in changed.named_buffers() if name.endswith("running_mean")).add_(1)
    return changed


def changed_in_place(encoder: Encoder) -> Encoder:
    with torch.no_grad():
        next(encoder.parameters()).add_(1)
    return encoder


@pytest.mark.parametrize(
    ("change", "changed"),
    [
        (lambda encoder: encoder, Changed.NOTHING),
        (copy.deepcopy, Changed.NOTHING),
        (with_another_mean, Changed.STATISTICS),
        (changed_in_place, Changed.WEIGHTS),
    ],
)
def test_a_weight_or_buffer_that_changes_is_seen(change: Any, changed: Changed) -> None:
    found, seen = changed_by(change, tiny_encoder(), "defense")
    assert isinstance(found, Encoder)
    assert seen is changed


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda _: None, "the defense gave a NoneType, not an Encoder"),
        (
            lambda encoder: Encoder(replace(encoder.spec, image_size=16)),
            "the defense gave an encoder of another architecture",
        ),
    ],
)
def test_what_is_no_such_encoder_is_refused(change: Any, sentence: str) -> None:
    with pytest.raises(ResultError, match=sentence):
        changed_by(change, tiny_encoder(), "defense")
