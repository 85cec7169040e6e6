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
        ResultError: If what is read back gives other features: a hook, a changed ``forward`` or a
            tensor of another shape is in no file, and all later numbers would be those of another
            encoder.
    """
    from backbench.nn import load_encoder, save_encoder

    save_encoder(folder, encoder, mark)
    try:
        same = same_features(encoder, load_encoder(folder))
    except (StoreError, RuntimeError) as error:
        first = str(error).splitlines()[0]
        raise ResultError(f"{who} gave an encoder that cannot be used: {first}") from error
    if not same:
        raise ResultError(
            f"{who} gave an encoder whose features do not follow from its weights: a hook or a "
            "forward function of its own is not stored; put the change into the weights"
        )


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
