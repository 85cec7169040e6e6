"""The layouts of encoder files: which of a checkpoint's tensors are the backbone's. Plain data.

A layout says where in a checkpoint the state dict lies, what the backbone's keys begin with, what
they are called, and which of them are a head. It takes the backbone's tensors under torchvision's
or timm's own names, and lists what it leaves aside; whether they fill a network, and no more, is
asked of the network (:mod:`backbench.external.importing`).

Source: the files that write the checkpoints, named with each layout.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from backbench.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

#: Raise it when a layout gives other weights than before: imports made by an older one are redone.
REVISION = 1

#: Value on the command line if the keys decide the layout.
AUTO = "auto"

#: What DistributedDataParallel and DataParallel put before every key.
_PARALLEL = "module."

#: Children of a torchvision ResNet that have weights, by their place among all its children.
_CHILDREN = {
    "0.": "conv1.",
    "1.": "bn1.",
    "4.": "layer1.",
    "5.": "layer2.",
    "6.": "layer3.",
    "7.": "layer4.",
    "9.": "fc.",
}


@dataclass(frozen=True, slots=True)
class Layout:
    """How a checkpoint holds a backbone.

    Args:
        name: What ``--layout`` calls it.
        summary: One line: whose checkpoints, and which of their encoders is taken.
        holders: Keys under which the state dict may lie; it may always be the whole file.
        prefixes: What the backbone's keys begin with: the first that is found counts. Each may
            have ``module.`` before it.
        heads: First parts of names, within the backbone, that are left aside.
        renamed: Beginnings of the backbone's keys, and what they are called in the network. Keys
            that come to the same name must hold the same numbers.
        refused: Parts of keys of networks that only look alike, and what they are.
        padded_stem: The 3×3 stem pads by 2 pixels, not by 1.
    """

    name: str
    summary: str
    holders: tuple[str, ...] = ("state_dict",)
    prefixes: tuple[str, ...] = ("",)
    heads: tuple[str, ...] = ("fc",)
    renamed: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    padded_stem: bool = False


#: Every layout, by name.
#:
#: Source: SSL-Backdoor (Saha et al. 2022): moco/main_moco.py, byol/methods/byol.py and model.py,
#: jigsaw/train_jigsaw.py, rotnet/architectures/ResNet.py and algorithms/Algorithm.py; torchvision
#: references/classification/train.py; timm utils/checkpoint_saver.py; lightly
#: examples/pytorch_lightning and benchmarks/imagenet; solo-learn solo/methods/base.py and
#: main_linear.py.
LAYOUTS: Mapping[str, Layout] = {
    layout.name: layout
    for layout in (
        Layout(
            "moco",
            "MoCo's checkpoints, the published ones among them: the query encoder",
            prefixes=("encoder_q.",),
        ),
        Layout(
            "byol",
            "the published BYOL's checkpoints: the online encoder",
            prefixes=("model.module.", "model."),
            heads=(),
        ),
        Layout("jigsaw", "the published Jigsaw's checkpoints: the trunk of the tiles"),
        Layout(
            "rotnet",
            "the published RotNet's checkpoints, which hold every block twice",
            holders=("network",),
            renamed={f"_feature_blocks.{old}": new for old, new in _CHILDREN.items()},
        ),
        Layout(
            "torchvision",
            "a torchvision ResNet, bare or under 'state_dict' or 'model'",
            holders=("state_dict", "model"),
        ),
        Layout(
            "timm",
            "any timm model, bare or under 'state_dict' or 'model'; say which with --arch",
            holders=("state_dict", "model"),
            heads=(),  # timm itself says how the model calls its head
        ),
        Layout(
            "lightly",
            "lightly's checkpoints: 'backbone', else DINO's teacher",
            prefixes=("backbone.", "model.backbone.", "online_backbone.", "teacher_backbone."),
            renamed=_CHILDREN,
            refused={
                "shortcut.": "this is lightly's own ResNet (ResNetGenerator), which has no ReLU "
                "after its stem when it is cut as lightly cuts it: it is no torchvision ResNet"
            },
        ),
        Layout(
            "solo-learn",
            "solo-learn's checkpoints: 'backbone', not the momentum encoder",
            prefixes=("backbone.", "encoder."),
            padded_stem=True,
        ),
        Layout(
            "backbench",
            "our own encoders: a folder with encoder.json and encoder.safetensors",
            prefixes=("backbone.body.",),
            heads=(),
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Taken:
    """The backbone's tensors by the network's names; ``left`` counts the others by first name."""

    tensors: Mapping[str, Tensor]
    left: Mapping[str, int]


def take(
    layout: Layout, checkpoint: Mapping[str, Any], source: str, heads: Iterable[str] = ()
) -> Taken:
    """Take the backbone's tensors out of a checkpoint.

    Raises:
        UsageError: If the checkpoint is not of this layout, or contradicts itself.
    """
    state = _state(layout, checkpoint, source)
    prefixes = [parallel + one for one in layout.prefixes for parallel in (_PARALLEL, "")]
    prefix = next((one for one in prefixes if _begins(state, one)), None)
    if prefix is None:
        wanted = " or ".join(repr(one) for one in layout.prefixes)
        raise UsageError(
            f"{source}: not of layout {layout.name!r}: no key begins with {wanted}"
            f"{hint(layout.name, checkpoint)}"
        )
    dropped = tuple(f"{head}." for head in (*layout.heads, *heads))
    tensors: dict[str, Tensor] = {}
    left = [key for key in state if not key.startswith(prefix)]
    for key, value in state.items():
        if not key.startswith(prefix):
            continue
        name = _renamed(layout, key.removeprefix(prefix))
        for part, reason in layout.refused.items():
            if part in name:
                raise UsageError(f"{source}: {key}: {reason}")
        if name.startswith(dropped):
            left.append(key)
            continue
        if not _is_tensor(value):
            raise UsageError(f"{source}: {key} is a {type(value).__name__}, not a tensor")
        if name in tensors and not tensors[name].equal(value):
            raise UsageError(
                f"{source}: {key} and another key for {name} hold different numbers: the file "
                "contradicts itself"
            )
        tensors[name] = value
    return Taken(tensors, Counter(_beginning(key) for key in left))


def layout_of(checkpoint: Mapping[str, Any]) -> str | None:
    """Say which layout a checkpoint's keys look like; ``None`` where that is open.

    Layouts that would take the same tensors under the same names are separated by the other keys
    of the file; if these do not separate them and the layouts differ, the answer is open. Timm's
    models are never guessed: different models share all names and shapes.
    """
    states = [checkpoint, *(one for one in checkpoint.values() if isinstance(one, Mapping))]
    for state in states:
        keys = [key.removeprefix(_PARALLEL) for key in state if isinstance(key, str)]
        tests = (
            ("moco", _begins(keys, "encoder_q.")),
            ("byol", _begins(keys, "model_t.")),
            ("rotnet", _begins(keys, "_feature_blocks.")),
            ("backbench", _begins(keys, "backbone.body.")),
            ("lightly", any(one + "0.weight" in keys for one in LAYOUTS["lightly"].prefixes)),
            ("lightly", _named(keys) and _begins(keys, "online_classifier.", "projection_head.")),
            ("solo-learn", _named(keys) and _begins(keys, "classifier.")),
            ("jigsaw", "conv1.weight" in keys and _sees_nine_tiles(state)),
            ("torchvision", "conv1.weight" in keys and _begins(keys, "layer1.0.")),
        )
        found = next((name for name, holds in tests if holds), None)
        if found is not None:
            return found
    return None


def hint(layout: str, checkpoint: Mapping[str, Any]) -> str:
    """Return the end of a sentence on a file that does not fit: what its keys look like."""
    guess = layout_of(checkpoint)
    if guess is not None and guess != layout:
        return f"; its keys look like layout {guess!r}: try --layout {guess}"
    keys = list(_keys(checkpoint))
    shown = ", ".join(keys[:3]) + (", …" if len(keys) > 3 else "")
    return f" (its keys: {shown})" if keys else " (it is empty)"


def _state(layout: Layout, checkpoint: Mapping[str, Any], source: str) -> Mapping[str, Any]:
    for holder in layout.holders:
        held = checkpoint.get(holder)
        if isinstance(held, Mapping):
            return held
    if any(_is_tensor(value) for value in checkpoint.values()):
        return checkpoint
    raise UsageError(
        f"{source}: holds no weights where layout {layout.name!r} has them"
        f"{hint(layout.name, checkpoint)}"
    )


def _renamed(layout: Layout, name: str) -> str:
    for old, new in layout.renamed.items():
        if name.startswith(old):
            return new + name.removeprefix(old)
    return name


def _is_tensor(value: Any) -> bool:
    """Say whether a value is a tensor; this module does without torch."""
    return hasattr(value, "shape") and hasattr(value, "dtype") and hasattr(value, "equal")


def _beginning(key: str) -> str:
    """Return the part of a key by which it is counted: ``module.encoder_k``, ``fc``."""
    parts = key.split(".")
    return ".".join(parts[: 2 if parts[0] in {"module", "model"} else 1])


def _begins(keys: Iterable[str], *prefixes: str) -> bool:
    return any(key.startswith(prefixes) for key in keys)


def _named(keys: Iterable[str]) -> bool:
    return any(key in {"backbone.conv1.weight", "encoder.conv1.weight"} for key in keys)


def _sees_nine_tiles(state: Mapping[str, Any]) -> bool:
    """Say whether the last layer reads the features of nine tiles: 9 × 512, 9 × 2048."""
    for key, value in state.items():
        if str(key).endswith("fc.weight") and len(getattr(value, "shape", ())) == 2:
            return value.shape[1] in {9 * 512, 9 * 2048}
    return False


def _keys(checkpoint: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a checkpoint's tensors are called, and then what else is in it."""
    for key, value in checkpoint.items():
        if isinstance(value, Mapping):
            yield from (f"{key}[{name!r}]" for name, one in value.items() if _is_tensor(one))
    yield from (str(key) for key in checkpoint)
