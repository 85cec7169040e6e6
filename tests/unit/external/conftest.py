"""Checkpoints of every layout, made from networks with random weights."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision import models

State = dict[str, Tensor]

#: Children of a torchvision ResNet, in their order.
CHILDREN = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4", "avgpool")


def network(arch: str = "resnet18", *, stem: str = "imagenet", seed: int = 0) -> nn.Module:
    """Return a torchvision ResNet whose weights and statistics are all drawn."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = models.get_model(arch, weights=None)
        if stem != "imagenet":
            made.conv1 = nn.Conv2d(3, 64, 3, 1, 2 if stem == "cifar-padded" else 1, bias=False)
            made.maxpool = nn.Identity()
        for module in made.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.data.uniform_(0.5, 1.5)
                module.bias.data.uniform_(-0.2, 0.2)
                module.running_mean.uniform_(-0.2, 0.2)  # type: ignore[union-attr]
                module.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
    return made.eval()


def backbone(made: nn.Module) -> State:
    """Return the tensors below the head."""
    return {name: one for name, one in made.state_dict().items() if not name.startswith("fc.")}


def under(prefix: str, state: State) -> State:
    """Put a prefix before every name."""
    return {prefix + name: tensor for name, tensor in state.items()}


def mlp(prefix: str, *widths: int) -> State:
    """Return the tensors of a projector as the published BYOL numbers its layers."""
    inner, hidden, outer = widths
    return {
        f"{prefix}0.weight": torch.randn(hidden, inner),
        f"{prefix}0.bias": torch.randn(hidden),
        f"{prefix}1.weight": torch.ones(hidden),
        f"{prefix}1.running_mean": torch.zeros(hidden),
        f"{prefix}3.weight": torch.randn(outer, hidden),
        f"{prefix}3.bias": torch.randn(outer),
    }


def optimizer(made: nn.Module) -> dict[str, Any]:
    """Return what SGD with momentum saves."""
    sgd = torch.optim.SGD(made.parameters(), 0.06, momentum=0.9)
    return sgd.state_dict()


def moco(made: nn.Module, other: nn.Module) -> dict[str, Any]:
    head = {"fc.0.weight": torch.randn(4, 4), "fc.0.bias": torch.zeros(4)}
    state = {
        **under("module.encoder_q.", {**backbone(made), **head}),
        **under("module.encoder_k.", {**backbone(other), **head}),
        "module.queue": torch.randn(128, 16),
        "module.queue_ptr": torch.zeros(1, dtype=torch.long),
        "module.scalar_label": torch.zeros((), dtype=torch.long),
    }
    return {"epoch": 200, "arch": "resnet18", "state_dict": state, "optimizer": optimizer(made)}


def byol(made: nn.Module, other: nn.Module) -> dict[str, Any]:
    return {
        **under("model.module.", backbone(made)),
        **mlp("head.", 512, 16, 8),
        **mlp("pred.", 8, 16, 8),
        **under("model_t.module.", backbone(other)),
        **mlp("head_t.", 512, 16, 8),
    }


def jigsaw(made: nn.Module, other: nn.Module) -> dict[str, Any]:
    head = {"fc.weight": torch.randn(5, 9 * 512), "fc.bias": torch.zeros(5)}
    schedule = torch.optim.lr_scheduler.MultiStepLR(
        torch.optim.SGD(made.parameters(), 0.01), [30, 60]
    )
    return {
        "epoch": 105,
        "state_dict": under("module.", {**backbone(made), **head}),
        "best_acc1": torch.tensor(12.5),
        "optimizer": optimizer(made),
        "lr_scheduler": schedule.state_dict(),
    }


def rotnet(made: nn.Module, other: nn.Module) -> dict[str, Any]:
    named = {
        **backbone(made),
        "fc.1.weight": torch.randn(4, 512),
        "fc.1.bias": torch.zeros(4),
    }
    blocks = {}
    for name, tensor in named.items():
        child, _, rest = name.partition(".")
        place = 9 if child == "fc" else CHILDREN.index(child)
        blocks[f"_feature_blocks.{place}.{rest}"] = tensor
    return {"epoch": 105, "network": OrderedDict({**named, **blocks})}


def torchvision(made: nn.Module, other: nn.Module) -> dict[str, Any]:
    return dict(made.state_dict())


def parallel(made: nn.Module, other: nn.Module) -> dict[str, Any]:
    return {"model": under("module.", made.state_dict()), "epoch": 90}


def lightly(made: nn.Module, other: nn.Module) -> dict[str, Any]:
    def numbered(one: nn.Module) -> State:
        return nn.Sequential(*list(one.children())[:-1]).state_dict()

    state = {
        **under("backbone.", numbered(made)),
        "projection_head.layers.0.weight": torch.randn(8, 512),
        **under("backbone_momentum.", numbered(other)),
        "projection_head_momentum.layers.0.weight": torch.randn(8, 512),
    }
    return {"epoch": 9, "global_step": 90, "state_dict": state, "hyper_parameters": {}}


def lightly_named(made: nn.Module, other: nn.Module) -> dict[str, Any]:
    state = {
        **under("backbone.", backbone(made)),
        **under("teacher_backbone.", backbone(other)),
        "online_classifier.linear.weight": torch.randn(8, 512),
    }
    return {"state_dict": state}


def lightly_dino(made: nn.Module, other: nn.Module) -> dict[str, Any]:
    def numbered(one: nn.Module) -> State:
        return nn.Sequential(*list(one.children())[:-1]).state_dict()

    return {
        "state_dict": {
            **under("student_backbone.", numbered(other)),
            **under("teacher_backbone.", numbered(made)),
            "student_head.layers.0.weight": torch.randn(8, 512),
        }
    }


def solo_learn(made: nn.Module, other: nn.Module) -> dict[str, Any]:
    state = {
        **under("backbone.", backbone(made)),
        "classifier.weight": torch.randn(10, 512),
        "classifier.bias": torch.zeros(10),
        "projector.0.weight": torch.randn(8, 512),
        **under("momentum_backbone.", backbone(other)),
        "queue": torch.randn(2, 8, 16),
    }
    return {"epoch": 999, "state_dict": state, "loops": {}, "optimizer_states": []}


@pytest.fixture(scope="session")
def made() -> nn.Module:
    """Return the network that shall be found."""
    return network(seed=1)


@pytest.fixture(scope="session")
def other() -> nn.Module:
    """Return one that shall not: a momentum encoder."""
    return network(seed=2)
