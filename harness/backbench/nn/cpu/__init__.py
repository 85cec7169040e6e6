"""Fast networks on a processor; other rooms use only the names of this module.

The option ``channels_last`` is the switch. With ``"auto"``, the maps of torchvision's ResNets are
in the layout of oneDNN, the library of a processor's convolutions. torch hands each convolution to
oneDNN and computes all else by itself, bfloat16 number by number. Maps that stay with oneDNN from
the first convolution to the last pooling, or until they are small, get its other kernels, too:
batch norm is three times as fast, ReLU, sums and poolings are twice as fast or more. Small maps get
matrix products (:mod:`backbench.nn.cpu.layers`).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from backbench.nn.cpu.layers import Convolution, DensePooling

#: Values of the option ``channels_last``.
Switch = bool | Literal["auto"]

#: Side of the smallest images: of smaller images, maps could be small before the first block.
_LEAST_SIDE = 32

_RESNETS = "torchvision.models.resnet"
_KNOWN_MODULES = {_RESNETS, "backbench.nn.backbones"}
_KNOWN_TYPES = {DensePooling, nn.Identity, nn.MaxPool2d, nn.ReLU, nn.Sequential}


def has_bf16() -> bool:
    """Return whether the processor multiplies bfloat16 faster than float32."""
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name) is True for name in ("avx512_bf16", "amx_bf16"))


def with_own_layers(network: nn.Module) -> nn.Module:
    """Replace the plain convolutions and poolings of a ResNet of torchvision by ours.

    The network is changed in place; its parameters and their names stay. The numbers of other
    networks stay as they are: see docs/adr/0009.
    """
    if not _is_resnet(network):
        return network
    for name, plain in list(network.named_modules()):
        if type(plain) is nn.Conv2d:
            network.set_submodule(name, Convolution.like(plain))
        elif type(plain) is nn.AdaptiveAvgPool2d:
            network.set_submodule(name, DensePooling(plain.output_size))
    return network


def memory_format(channels_last: Switch) -> torch.memory_format:
    """Return torch's format of weights, and of the maps that oneDNN does not keep."""
    return torch.channels_last if channels_last else torch.contiguous_format


def blocked(images: Tensor, backbone: nn.Module, channels_last: Switch) -> Tensor:
    """Return images (B, 3, H, W) in oneDNN's layout where the backbone is faster with it."""
    # torch.compile does not know tensors of this layout; tried first, it drops the rest.
    if torch.compiler.is_compiling() or not _takes_blocked(backbone, images.device, channels_last):
        return images
    low = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16
    if not low or min(images.shape[2:]) < _LEAST_SIDE:
        return images
    return images.to(torch.bfloat16).to_mkldnn()


def layout_name(backbone: nn.Module | None, device: torch.device, channels_last: Switch) -> str:
    """Name the layout of a trained backbone's maps in bfloat16, for a record."""
    with torch.no_grad():  # it is not in training any more
        if _takes_blocked(backbone, device, channels_last):
            return "oneDNN"
    return "channels last" if channels_last else "channels first"


def _takes_blocked(backbone: nn.Module | None, device: torch.device, channels_last: Switch) -> bool:
    """Return whether oneDNN has every layer of a backbone, forwards and, if it is wanted, back."""
    return (
        channels_last == "auto"
        and device.type == "cpu"
        and has_bf16()
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and backbone is not None
        and _is_resnet(getattr(backbone, "body", None))
        and all(map(_is_known, backbone.modules()))
    )


def _is_resnet(network: object) -> bool:
    return type(network).__module__ == _RESNETS


def _is_known(module: nn.Module) -> bool:
    ways = ("forward", "forward_pre", "backward", "backward_pre")
    if any(getattr(module, f"_{way}_hooks") for way in ways):
        return False
    if type(module) is nn.BatchNorm2d:
        return module.affine and (module.training or not torch.is_grad_enabled())
    if type(module) is Convolution:
        return module.bias is None and module.padding_mode == "zeros"  # a bias would be rounded
    return type(module).__module__ in _KNOWN_MODULES or type(module) in _KNOWN_TYPES
