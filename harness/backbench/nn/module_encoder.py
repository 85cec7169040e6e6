"""Any module that maps images to features, as an encoder."""

from __future__ import annotations

import hashlib
import inspect
from contextlib import suppress

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
    """Return a SHA-256 of a module's weights, settings and code, and of its features of noise.

    Two modules of equal weights that compute something else differ in it, also if they do so on
    some images only: by a buffer, a number or a text of a layer, a hook, or a class's source.
    """
    digest = hashlib.sha256()
    for name, layer in module.named_modules():
        digest.update(repr((name, count_hooks(layer), _settings(layer))).encode())
        digest.update(_source(type(layer)).encode())
    for name, tensor in sorted({**module.state_dict(), **dict(module.named_buffers())}.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().tobytes())
    digest.update(probe(module, image_size).numpy().tobytes())
    return digest.hexdigest()


def count_hooks(layer: nn.Module) -> int:
    """Count what torch calls before and after a forward pass; it has no public list of them."""
    return len(layer._forward_hooks) + len(layer._forward_pre_hooks)  # noqa: SLF001


def _settings(layer: nn.Module) -> list[tuple[str, str]]:
    """Return the plain values among a layer's attributes, but for its mode."""
    own = {name: value for name, value in vars(layer).items() if name[:1] != "_"}
    own.pop("training", None)
    return sorted((name, repr(value)) for name, value in own.items() if _is_plain(value))


def _is_plain(value: object) -> bool:
    if isinstance(value, tuple | list):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)


def _source(kind: type) -> str:
    """Return the source of a class, or its name where it has none that can be read."""
    if not kind.__module__.startswith("torch."):
        with suppress(OSError, TypeError):
            return inspect.getsource(kind)
    return f"{kind.__module__}.{kind.__qualname__}"
