"""An encoder is stored only if its weights are all of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from backbench.errors import ResultError
from backbench.nn import Encoder, EncoderSpec, load_encoder
from backbench.stages.keeping import keep_encoder

SPEC = EncoderSpec(
    {"name": "tiny-resnet", "widths": [4], "strides": [1], "stem_width": 4},
    8,
    (0.5,) * 3,
    (0.25,) * 3,
)


class Negated(Encoder):
    def forward(self, images: Tensor) -> Tensor:
        return -super().forward(images)


class Clipping(nn.BatchNorm2d):
    def forward(self, maps: Tensor) -> Tensor:
        return super().forward(maps).clamp(max=1e3)


def encoder(kind: type[Encoder] = Encoder) -> Encoder:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return kind(SPEC)


def convolutions(of: Encoder) -> list[nn.Conv2d]:
    return [one for one in of.modules() if isinstance(one, nn.Conv2d)]


def hooked() -> Encoder:
    found = encoder()
    convolutions(found)[0].register_forward_hook(
        lambda _module, _input, output: output.clamp(max=0)
    )
    return found


def guarded() -> Encoder:
    """It acts on white images alone, so that it changes no feature of noise."""
    found = encoder()
    found.register_forward_pre_hook(
        lambda _module, given: (given[0] * (given[0].mean((1, 2, 3), keepdim=True) < 0.9),)
    )
    return found


def replaced() -> Encoder:
    found = encoder()
    found.backbone.forward = found.backbone.forward  # type: ignore[method-assign]
    return found


def clipped() -> Encoder:
    """It clips nothing that noise reaches."""
    found = encoder()
    name = next(name for name, one in found.named_modules() if isinstance(one, nn.BatchNorm2d))
    found.set_submodule(name, Clipping(found.get_submodule(name).num_features))
    return found


def rounded() -> Encoder:
    found = encoder()
    next(one for one in found.modules() if isinstance(one, nn.BatchNorm2d)).eps = 1.1e-5
    return found


def renormalized() -> Encoder:
    found = encoder()
    found.mean.zero_()
    return found


def narrow() -> Encoder:
    found = encoder()
    convolutions(found)[0].weight = nn.Parameter(torch.zeros(2, 3, 3, 3))
    return found


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        (hooked, "the defense gave an encoder with a forward hook on the layer "),
        (guarded, "the defense gave an encoder with a forward hook on the encoder, which no file"),
        (replaced, "with a forward function of its own on the layer backbone, "),
        (clipped, "the defense gave an encoder with Clipping as the layer "),
        (rounded, "the defense gave an encoder with other settings of the layer "),
        (
            lambda: encoder(Negated),
            "the defense gave an encoder with Negated as the encoder, which",
        ),
        (renormalized, "the defense gave an encoder whose features do not follow"),
        (narrow, "the defense gave an encoder that cannot be used: "),
        (lambda: encoder().half(), "the defense gave an encoder that cannot be used: "),
    ],
)
def test_what_is_more_than_its_weights_is_refused(tmp_path: Path, made: Any, sentence: str) -> None:
    with pytest.raises(ResultError, match=sentence):
        keep_encoder(tmp_path, made(), "", "the defense")


def test_weights_that_share_memory_are_stored_each(tmp_path: Path) -> None:
    given = encoder().train()
    first, second = [one for one in convolutions(given) if one.weight.shape == (4, 4, 3, 3)][:2]
    first.weight = second.weight
    keep_encoder(tmp_path, given, "", "the defense")
    stored = load_encoder(tmp_path).state_dict()
    assert all(torch.equal(stored[name], one) for name, one in given.state_dict().items())


def test_a_batch_norm_that_is_trained_keeps_its_statistics(tmp_path: Path) -> None:
    given = encoder().train()
    before = {name: one.clone() for name, one in given.state_dict().items()}
    keep_encoder(tmp_path, given, "", "the method")
    assert all(torch.equal(before[name], one) for name, one in given.state_dict().items())
