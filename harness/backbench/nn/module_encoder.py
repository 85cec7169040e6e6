"""Any module that maps images to features, as an encoder."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor, nn

from backbench.errors import UsageError
from backbench.nn.encoder import Encoder, EncoderSpec

#: Images on which an encoder shows what it computes.
_PROBES = 4


class ModuleEncoder(Encoder):
    """Use a module that maps images (B, 3, H, W), float32 in [0, 1], to features (B, D).

    Raises:
        UsageError: If its output is not of this form.
    """

    def __init__(self, module: nn.Module, image_size: int) -> None:
        nn.Module.__init__(self)
        self.spec = EncoderSpec({"name": "module"}, image_size, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
        self.channels_last = False
        self.module = module
        self._width = probe(module, image_size).shape[1]

    @property
    def feature_dim(self) -> int:
        """Number of features, D."""
        return self._width

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 3, H, W), float32 in [0, 1], to features (B, D)."""
        found: Tensor = self.module(images)
        return found


def probe(module: nn.Module, image_size: int) -> Tensor:
    """Return features, (4, D), of noise, the same each time, in evaluation mode, on the processor.

    Raises:
        UsageError: If it does not map (B, 3, H, W) to finite (B, D).
    """
    name = type(module).__name__
    images = torch.rand(
        (_PROBES, 3, image_size, image_size), generator=torch.Generator().manual_seed(0)
    )
    first = next(module.parameters(), None)
    training = module.training
    module.eval()
    try:
        with torch.inference_mode():
            found = module(images if first is None else images.to(first.device))
    except (RuntimeError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(
            f"{name}: cannot take images (B, 3, {image_size}, {image_size}): {reason}"
        ) from error
    finally:
        module.train(training)
    if not isinstance(found, Tensor) or found.ndim != 2 or len(found) != _PROBES:
        shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise UsageError(f"{name}: gives {shape} for 4 images: it must give features (4, D)")
    if not bool(found.isfinite().all()):
        raise UsageError(f"{name}: gives features that are not finite")
    return found.float().cpu()


def fingerprint(module: nn.Module, image_size: int) -> str:
    """Return a SHA-256 of a module's weights and of what it computes on a few images.

    Two modules of equal weights that compute something else differ in it.
    """
    digest = hashlib.sha256(type(module).__qualname__.encode())
    for name, tensor in module.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().tobytes())
    digest.update(probe(module, image_size).numpy().tobytes())
    return digest.hexdigest()
