"""Store an encoder, and make sure that its weights are all of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from backbench.errors import ResultError, StoreError

if TYPE_CHECKING:
    from backbench.nn import Encoder


def keep_encoder(folder: Path, encoder: Encoder, mark: str, who: str) -> None:
    """Write an encoder into the folder of an artifact, and read it back.

    Args:
        folder: The folder.
        encoder: What a plugin gave; it is in evaluation mode afterwards.
        mark: As of :func:`backbench.nn.save_encoder`.
        who: The plugin, for the error.

    Raises:
        ResultError: If it is more than its weights: a hook, a changed ``forward``, another layer or
            a tensor of another shape is in no file, and all later numbers would be those of
            another encoder.
    """
    from backbench.nn import load_encoder, save_encoder

    save_encoder(folder, encoder, mark)
    try:
        stored = load_encoder(folder)
        found = not_stored(encoder, stored)
        same = found or same_features(encoder, stored)
    except (StoreError, RuntimeError) as error:
        first = str(error).splitlines()[0]
        raise ResultError(f"{who} gave an encoder that cannot be used: {first}") from error
    if found:
        raise ResultError(
            f"{who} gave an encoder with {found}, which no file stores: put the change into the "
            "weights, and remove what watches the encoder"
        )
    if not same:
        raise ResultError(f"{who} gave an encoder whose features do not follow from its weights")


def not_stored(encoder: Encoder, stored: Encoder) -> str:
    """Return what an encoder has besides its weights: a hook, a ``forward``, another layer.

    It may act on some images only, such as those with a trigger, so that features of a few images
    do not reveal it.

    Args:
        encoder: What a plugin gave.
        stored: What was built from its description.

    Returns:
        The first one found, for a sentence; empty if there is none.
    """
    from backbench.nn.module_encoder import count_hooks

    built = dict(stored.named_modules())
    for name, module in encoder.named_modules():
        where = f"the layer {name}" if name else "the encoder"
        like = built.get(name)
        if like is None or type(module) is not type(like):
            return f"{type(module).__name__} as {where}"
        if module.extra_repr() != like.extra_repr():
            return f"other settings of {where}: {module.extra_repr()}"
        if count_hooks(module) != count_hooks(like):
            return f"a forward hook on {where}"
        if ("forward" in vars(module)) != ("forward" in vars(like)):
            return f"a forward function of its own on {where}"
    return ""


def same_features(encoder: Encoder, other: Encoder) -> bool:
    """Return whether two encoders give the same features, of two images of noise.

    Both are in evaluation mode afterwards. Features may differ by a hundredth of the greatest,
    since the device and the memory layout of weights change how they are summed.
    """
    import torch

    side = encoder.spec.image_size
    images = torch.rand((2, 3, side, side), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        first, second = (
            one.eval()(images.to(one.mean.device)).float().cpu() for one in (encoder, other)
        )
    within = 0.01 * float(second.abs().max())
    return torch.allclose(first, second, rtol=0, atol=within, equal_nan=True)
