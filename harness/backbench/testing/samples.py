"""Small inputs that the contracts give to plugins: the same each time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from numpy.typing import NDArray

from backbench.images import ArrayImages
from backbench.plugin import DatasetMetadata, Split
from backbench.stages.keeping import not_stored, same_features

if TYPE_CHECKING:
    from torch import Tensor

    from backbench.nn import Encoder

#: The splits of a dataset.
SPLITS: tuple[Split, ...] = get_args(Split)

#: A small dataset: three classes, of 16, 14 and 10 training images of 32 pixels.
METADATA = DatasetMetadata(
    classes=("ant", "bee", "cat"), train=40, val=12, size=(32, 32), train_per_class=(16, 14, 10)
)


def sample_images(metadata: DatasetMetadata) -> ArrayImages:
    """Make a training set: noise around a color of each class; 32 pixels if sizes differ."""
    rng = np.random.default_rng(0)
    height, width = metadata.size or (32, 32)
    labels = np.repeat(np.arange(len(metadata.classes), dtype=np.int64), metadata.train_per_class)
    colors = rng.integers(64, 192, (len(metadata.classes), 1, 1, 3))
    noise = rng.integers(-60, 61, (len(labels), height, width, 3))
    pixels = (colors[labels] + noise).astype(np.uint8)
    return ArrayImages(pixels, labels, [f"train/{index:06d}" for index in range(len(labels))])


def tiny_encoder(image_size: int = 32) -> Encoder:
    """Make a tiny-resnet with random weights, in evaluation mode; the same each time."""
    import torch

    from backbench.nn import Encoder, EncoderSpec
    from backbench.options.backbones import BackboneOptions

    backbone = BackboneOptions(name="tiny-resnet", widths=(8, 16), strides=(1, 2), stem_width=8)
    spec = EncoderSpec(
        backbone.model_dump(mode="json"), image_size, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Encoder(spec).eval()


def other_encoder(encoder: Encoder) -> Encoder:
    """Make an encoder of the same architecture with other random weights; the same each time."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return type(encoder)(encoder.spec).eval()


def weights_of(encoder: Encoder) -> dict[str, NDArray[Any]]:
    """Return the state of an encoder as arrays, by name."""
    state = encoder.state_dict().items()
    return {f"weights ({name})": one.detach().numpy() for name, one in state}


def same_weights(first: Encoder, second: Encoder) -> bool:
    """Compare the state of two encoders, bit by bit."""
    mine, other = first.state_dict(), second.state_dict()
    return mine.keys() == other.keys() and all(mine[name].equal(other[name]) for name in mine)


def features_of(encoder: Encoder, count: int = 4) -> Tensor:
    """Return features, (count, D), of images of noise, the same each time."""
    import torch

    side, generator = encoder.spec.image_size, torch.Generator().manual_seed(0)
    with torch.no_grad():
        features: Tensor = encoder(torch.rand(count, 3, side, side, generator=generator))
    return features


def assert_encoder(found: object, like: Encoder) -> None:
    """Assert that a plugin has returned another encoder of the same architecture."""
    from backbench.nn.encoder import filled

    assert isinstance(found, type(like)), (
        f"return an Encoder, such as copy.deepcopy(encoder), not a {type(found).__name__}"
    )
    assert found is not like, "return a copy of the encoder, not the encoder that was given"
    assert found.spec == like.spec, (
        f"return an encoder of the architecture that was given: {like.spec}, not {found.spec}"
    )
    wrong = [name for name, one in found.state_dict().items() if not bool(one.isfinite().all())]
    assert not wrong, f"return finite weights: those of {wrong[0]} are not"
    assert not found.training, "return the encoder in evaluation mode: call its eval()"
    features = features_of(found)
    assert features.shape == (4, like.feature_dim), (
        f"return an encoder of {like.feature_dim} features, not of shape {tuple(features.shape)}"
    )
    assert bool(features.isfinite().all()), "return an encoder whose features are finite"
    stored = filled(found.spec, found.state_dict())
    more = not_stored(found, stored)
    assert not more, f"put the change into the weights: {more} is not stored"
    assert same_features(found, stored), (
        "put the change into the weights: the features do not follow from them"
    )


def assert_untouched(encoder: Encoder, before: Encoder) -> None:
    """Assert that a plugin has left the encoder that it was given as it was."""
    assert same_weights(encoder, before), (
        "the encoder that was given has other weights now: change a copy.deepcopy of it"
    )
    assert not encoder.training, (
        "the encoder that was given is in training mode now: change a copy.deepcopy of it"
    )
    for name, parameter in encoder.named_parameters():
        assert parameter.requires_grad, (
            f"{name} of the encoder that was given takes no gradient now: freeze a copy of it"
        )
        assert parameter.grad is None, (
            f"{name} of the encoder that was given has a gradient now: train a copy of it"
        )
