"""The layouts of encoder files: which of a checkpoint's tensors are the backbone's. Plain data.

A layout fixes which encoder of a checkpoint is taken, what its keys are called, and which of them
are a head. How it is found is in :mod:`backbench.external.state_dicts`; whether its tensors fill a
network, and no more, is read from the network (:mod:`backbench.external.importing`).

Source: the files that write the checkpoints, named with each layout.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

#: Raise it when a layout gives other weights than before: imports made by an older one are redone.
REVISION = 1

#: Value on the command line if the keys decide the layout.
AUTO: Final = "auto"

#: Prefix of the keys of our own encoders' backbones.
OWN = "backbone.body."

#: First parts of names of heads, which no ResNet has in its backbone.
_HEADS = (
    *("fc", "head", "heads", "linear", "mlp", "classifier", "online_classifier", "prototypes"),
    *("projection", "projection_head", "projector", "prediction_head", "predictor"),
    *("contrast_head", "contrastive_head", "queue", "queue_ptr", "queue_labels"),
)

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
    """The form in which a checkpoint holds a backbone.

    Args:
        name: What ``--layout`` calls it.
        summary: One line: whose checkpoints, and which of their encoders is taken.
        meanings: What the prefix of the encoder's keys comes to without the parts that wrap it, as
            in ``module.``: the first that is found counts.
        others: The same of its files' other encoders, which are left aside.
        heads: First parts of names, within the backbone of a ResNet, that are left aside.
        renamed: Beginnings of the backbone's keys, and what they are called in the network. Keys
            that come to the same name must hold the same numbers.
        refused: Parts of keys of networks that only look alike, and what they are.
        padded_stem: The 3×3 stem pads by 2 pixels, not by 1.
    """

    name: str
    summary: str
    meanings: tuple[str, ...] = ("",)
    others: tuple[str, ...] = ()
    heads: tuple[str, ...] = _HEADS
    renamed: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    padded_stem: bool = False


#: Every layout, by name.
#:
#: Source: SSL-Backdoor (Saha et al. 2022): moco/main_moco.py, byol/methods/byol.py and model.py,
#: jigsaw/train_jigsaw.py, rotnet/architectures/ResNet.py and algorithms/Algorithm.py; torchvision
#: references/classification/train.py; timm utils/checkpoint_saver.py; lightly
#: examples/pytorch_lightning and benchmarks/imagenet; solo-learn solo/methods/base.py and
#: main_linear.py; MoCo v3 main_lincls.py.
LAYOUTS: Mapping[str, Layout] = {
    layout.name: layout
    for layout in (
        Layout(
            "moco",
            "MoCo's checkpoints, the published ones among them: the query encoder; of MoCo v3 the "
            "base encoder",
            meanings=("encoder_q", "base_encoder"),
            others=("encoder_k", "momentum_encoder"),
        ),
        Layout(
            "byol",
            "the published BYOL's checkpoints: the online encoder",
            others=("model_t",),
        ),
        Layout("jigsaw", "the published Jigsaw's checkpoints: the trunk of the tiles"),
        Layout(
            "rotnet",
            "the published RotNet's checkpoints, which hold every block twice",
            others=("_feature_blocks",),
            renamed={f"_feature_blocks.{old}": new for old, new in _CHILDREN.items()},
        ),
        Layout(
            "torchvision",
            "a torchvision ResNet, whatever usual names its keys begin with",
        ),
        Layout(
            "timm",
            "any timm model, likewise; say which with --arch",
        ),
        Layout(
            "lightly",
            "lightly's checkpoints: 'backbone', else DINO's teacher",
            meanings=("", "online_backbone", "teacher_backbone"),
            others=("backbone_momentum", "student_backbone"),
            renamed=_CHILDREN,
            refused={
                "shortcut.": "this is lightly's own ResNet (ResNetGenerator), which has no ReLU "
                "after its stem when it is cut as lightly cuts it: it is no torchvision ResNet"
            },
        ),
        Layout(
            "solo-learn",
            "solo-learn's checkpoints: 'backbone', not the momentum encoder",
            others=("momentum_backbone", "momentum_encoder"),
            padded_stem=True,
        ),
        Layout(
            "backbench",
            "our own encoders: a folder with encoder.json and encoder.safetensors",
            meanings=("body",),
        ),
    )
}
