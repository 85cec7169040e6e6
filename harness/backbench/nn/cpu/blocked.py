"""A network's maps in the layout of oneDNN, the library of a processor's convolutions.

torch hands each convolution to oneDNN and computes all else by itself, bfloat16 number by number.
Maps that stay with oneDNN from the first convolution to the last pooling, or until they are small,
get its other kernels, too: batch norm is three times as fast, ReLU, sums and poolings are twice as
fast or more.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from backbench.nn.bfloat16 import has_native_bf16
from backbench.nn.cpu.convolution import Convolution

#: Side of the smallest images: of smaller ones, maps could be small before the first block.
LEAST_SIDE = 32

_RESNETS = "torchvision.models.resnet"


class DensePooling(nn.AdaptiveAvgPool2d):
    """The mean over each map, in any layout; oneDNN's own takes long on the way back."""

    def forward(self, maps: Tensor) -> Tensor:
        """Return (B, C, H', W'), dense, of maps (B, C, H, W)."""
        return super().forward(maps.to_dense() if maps.is_mkldnn else maps)


_LAYERS = frozenset({DensePooling, nn.Identity, nn.MaxPool2d, nn.ReLU, nn.Sequential})


def with_own_layers(network: nn.Module) -> nn.Module:
    """Replace the plain convolutions and poolings of a network by ours.

    Args:
        network: Changed in place; its parameters stay, and so do their names.

    Returns:
        The network.
    """
    for name, plain in list(network.named_modules()):
        if type(plain) is nn.Conv2d:
            network.set_submodule(name, Convolution.like(plain))
        elif type(plain) is nn.AdaptiveAvgPool2d:
            network.set_submodule(name, DensePooling(plain.output_size))
    return network


def is_resnet(network: nn.Module) -> bool:
    """Say whether a network is one of torchvision's ResNets."""
    return type(network).__module__ == _RESNETS


def can_be_blocked(network: nn.Module) -> bool:
    """Say whether oneDNN has every layer of a network, forwards and, if it is wanted, back.

    Args:
        network: One that went through :func:`with_own_layers`.
    """
    return is_resnet(network) and all(map(_is_known, network.modules()))


def is_watched(module: nn.Module) -> bool:
    """Say whether a hook looks at what goes through a module."""
    return any(
        getattr(module, f"_{way}_hooks")
        for way in ("forward", "forward_pre", "backward", "backward_pre")
    )


def _is_known(module: nn.Module) -> bool:
    if is_watched(module):
        return False
    if type(module) is nn.BatchNorm2d:
        return module.affine and (module.training or not torch.is_grad_enabled())
    if type(module) is Convolution:
        return module.bias is None and module.padding_mode == "zeros"  # a bias would be rounded
    return type(module).__module__ == _RESNETS or type(module) in _LAYERS


def pays(device: torch.device) -> bool:
    """Say whether the layout is the faster one on a device, in bfloat16.

    Args:
        device: Where the network is.
    """
    return (
        device.type == "cpu" and has_native_bf16(device) and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    )


def is_asked_for(images: Tensor) -> bool:
    """Say whether a network computes in bfloat16, on images of which maps are left to speak of.

    Args:
        images: Its input, (B, 3, H, W).
    """
    device = images.device.type
    return (
        torch.is_autocast_enabled(device)
        and torch.get_autocast_dtype(device) == torch.bfloat16
        and min(images.shape[2:]) >= LEAST_SIDE
    )


def blocked(images: Tensor) -> Tensor:
    """Return images (B, 3, H, W) in oneDNN's layout, bfloat16."""
    return images.to(torch.bfloat16).to_mkldnn()
