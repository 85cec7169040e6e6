"""Encoders for evaluation: convolutions that do the work of their batch norms, too."""

from __future__ import annotations

from collections import Counter
from copy import deepcopy
from typing import TYPE_CHECKING, Any, cast

from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from backbench.nn.cpu.layers import Convolution, DensePooling

if TYPE_CHECKING:
    from backbench.nn.encoder import Encoder


def folded(encoder: Encoder) -> Encoder:
    """Copy an encoder, in evaluation mode, its batch norms folded into the convolutions before.

    A batch norm with running statistics is a product and a sum for each channel, and so can be
    part of the convolution whose output it alone reads, as the data flow shows. Batch norms of
    other layers, and those of a network whose flow cannot be traced, stay. The copy has the same
    features, to float32's rounding. It cannot be trained.

    Source: Jacob et al. 2018, Quantization and training of neural networks, section 3.2.
    Differs: nothing is quantized.
    """
    copy = deepcopy(encoder).eval().requires_grad_(requires_grad=False)
    body = copy.backbone.body
    for convolution, norm in _pairs(body):
        before = cast("nn.Conv2d", body.get_submodule(convolution))
        after = cast("nn.BatchNorm2d", body.get_submodule(norm))
        body.set_submodule(convolution, fuse_conv_bn_eval(before, after))
        body.set_submodule(norm, nn.Identity())
    return copy


def _pairs(body: nn.Module) -> list[tuple[str, str]]:
    """Return the names of the convolutions, and of the batch norms that can be folded into them."""
    modules = dict(body.named_modules())
    if not any(_foldable(one) for one in modules.values()):
        return []
    try:
        graph = _Tracer().trace(body)
    except Exception:  # noqa: BLE001 - a network that branches on its input fails as it likes
        return []
    calls = [node for node in graph.nodes if node.op == "call_module"]
    times = Counter(node.target for node in calls)
    found = []
    for node in calls:
        before: Any = node.args[0] if node.args else None
        if (
            before in calls
            and _foldable(modules[node.target])
            and type(modules[before.target]) in {nn.Conv2d, Convolution}
            and len(before.users) == times[before.target] == times[node.target] == 1
        ):
            found.append((before.target, node.target))
    return found


class _Tracer(fx.Tracer):
    """Looks into every module but torch's own and ours."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, Convolution | DensePooling) or super().is_leaf_module(
            m, module_qualified_name
        )


def _foldable(module: nn.Module) -> bool:
    return type(module) is nn.BatchNorm2d and module.running_mean is not None
