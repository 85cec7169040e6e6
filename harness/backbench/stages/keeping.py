"""Store an encoder, and make sure that its weights are all of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from backbench.errors import ResultError, StoreError

if TYPE_CHECKING:
    from torch import Tensor

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
    import torch

    from backbench.nn import load_encoder, save_encoder

    save_encoder(folder, encoder, mark)
    try:
        given, stored = _features(encoder), _features(load_encoder(folder))
    except (StoreError, RuntimeError) as error:
        first = str(error).splitlines()[0]
        raise ResultError(f"{who} gave an encoder that cannot be used: {first}") from error
    # A hundredth, since the device and the memory layout of weights change how they are summed.
    within = 0.01 * float(stored.abs().max())
    if not torch.allclose(given, stored, rtol=0, atol=within, equal_nan=True):
        raise ResultError(
            f"{who} gave an encoder whose features do not follow from its weights: a hook or a "
            "forward function of its own is not stored; put the change into the weights"
        )


def _features(encoder: Encoder) -> Tensor:
    """Return the features of two images of noise."""
    import torch

    encoder.eval()
    side = encoder.spec.image_size
    images = torch.rand((2, 3, side, side), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return encoder(images.to(encoder.mean.device)).float().cpu()
