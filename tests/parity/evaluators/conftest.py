"""What tests of the published evaluators share: an encoder, images, and one thread."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from backbench.images import ArrayImages
from backbench.nn import Encoder, EncoderSpec
from backbench.options.backbones import BackboneOptions
from backbench.plugin import EvaluationContext
from backbench.plugin.registry import load_registry

SIDE, CLASSES, SEED = 32, 3, 11


def preset(plugin: str, name: str) -> dict:
    return dict(load_registry().find("evaluator", plugin).info.presets[name])


@pytest.fixture(scope="package", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def full_precision(monkeypatch: pytest.MonkeyPatch):
    """Compute in float32 on processors with bfloat16, too."""
    monkeypatch.setattr("backbench.nn.cpu.has_bf16", lambda: False)


@pytest.fixture(scope="package")
def encoder() -> Encoder:
    """A ResNet-18 for 32 pixels with weights, and running statistics, that are not the trivial."""
    backbone = BackboneOptions(name="resnet18", stem="cifar").model_dump(mode="json")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = Encoder(EncoderSpec(backbone, SIDE, (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)))
        for module in made.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.uniform_(-0.2, 0.2)
                module.running_var.uniform_(0.7, 1.5)
    return made.eval()


@pytest.fixture(scope="package")
def images() -> ArrayImages:
    rng = np.random.default_rng(3)
    labels = np.arange(30) % CLASSES
    pixels = rng.integers(0, 150, (30, SIDE, SIDE, 3))
    pixels[np.arange(30), :, :, labels] += 100
    return ArrayImages(pixels.astype(np.uint8), labels, [f"train/{i}" for i in range(30)])


def context(seen: list | None = None) -> EvaluationContext:
    record = seen.append if seen is not None else lambda _: None
    return EvaluationContext(SEED, "cpu", CLASSES, lambda *values: record(values))


def floats(images: ArrayImages, rows: np.ndarray) -> Tensor:
    return torch.tensor(images.pixels[rows]).permute(0, 3, 1, 2).float() / 255
