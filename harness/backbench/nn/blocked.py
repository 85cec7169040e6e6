"""A network's maps in the layout of oneDNN, the library of a processor's convolutions.

torch hands each convolution to oneDNN and computes all else by itself, bfloat16 number by number.
Maps that stay with oneDNN from the first convolution to the last pooling get its other kernels,
too: batch norm is three times as fast, ReLU, sums and poolings twice or more.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from backbench.nn.bfloat16 import has_native_bf16
from backbench.nn.convolution import Convolution


class DensePooling(nn.AdaptiveAvgPool2d):
    """The mean over each map, in any layout; oneDNN's own takes long on the way back."""

    def forward(self, maps: Tensor) -> Tensor:
        """Return (B, C, H', W'), dense, of maps (B, C, H, W)."""
        return super().forward(maps.to_dense() if maps.is_mkldnn else maps)


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


def can_be_blocked(network: nn.Module) -> bool:
    """Say whether oneDNN has every layer of a network, forwards and, if it is wanted, back.

    Args:
        network: One that went through :func:`with_own_layers`.
    """
    return all(map(_is_known, network.modules()))


def _is_known(module: nn.Module) -> bool:
    from torchvision.models import resnet

    if module._forward_hooks or module._forward_pre_hooks:  # noqa: SLF001 - torch does not say
        return False  # somebody looks at the maps
    if type(module) is nn.BatchNorm2d:
        return module.affine and (module.training or not torch.is_grad_enabled())
    if type(module) is Convolution:
        return module.bias is None  # it would have to be rounded
    return type(module) in {
        DensePooling,
        nn.Identity,
        nn.MaxPool2d,
        nn.ReLU,
        nn.Sequential,
        resnet.BasicBlock,
        resnet.Bottleneck,
        resnet.ResNet,
    }


def pays(images: Tensor) -> bool:
    """Say whether a network computes where the layout is the faster one.

    Args:
        images: Its input.
    """
    return (
        images.device.type == "cpu"
        and torch.is_autocast_enabled("cpu")
        and torch.get_autocast_dtype("cpu") == torch.bfloat16
        and has_native_bf16(images.device)
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and not torch.compiler.is_compiling()  # it does not know such tensors
    )


def blocked(images: Tensor) -> Tensor:
    """Return images (B, 3, H, W) in oneDNN's layout, bfloat16."""
    return images.to(torch.bfloat16).to_mkldnn()
