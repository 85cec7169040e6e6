"""Maps in oneDNN's layout give what channels-last maps give, and stay out where they cannot go."""

from __future__ import annotations

import copy
import functools
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision import models

from backbench.nn import Encoder, EncoderSpec
from backbench.nn.backbones import Backbone
from backbench.nn.cpu import (
    Convolution,
    DensePooling,
    blocked,
    has_bf16,
    layout_name,
    with_own_layers,
)
from backbench.nn.ranks import in_groups

native = pytest.mark.skipif(not has_bf16(), reason="the processor has no bfloat16")

RESNETS = [
    ({"name": "resnet18", "stem": "cifar"}, 32),
    ({"name": "resnet18", "stem": "imagenet"}, 64),  # its last maps are small
    ({"name": "resnext50_32x4d", "stem": "imagenet"}, 64),  # 1 × 1 convolutions, and groups
]


@functools.cache
def drawn(name: str, stem: str, size: int) -> Encoder:
    """Draw the weights of an encoder; once, since that takes longer than a step."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        spec = EncoderSpec({"name": name, "stem": stem}, size, (0.4, 0.5, 0.6), (0.2, 0.3, 0.25))
        return Encoder(spec)


def encoder_of(backbone: dict[str, str], size: int, layout: Any = "auto") -> Encoder:
    encoder = copy.deepcopy(drawn(backbone["name"], backbone["stem"], size))
    encoder.channels_last = layout
    return encoder.to(memory_format=torch.channels_last)


def samples(count: int, size: int) -> Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def opaque(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Say of each network that is run whether its input is in oneDNN's layout."""
    seen: list[bool] = []
    forward = Backbone.forward

    def noted(self: Backbone, images: Tensor) -> Tensor:
        seen.append(images.is_mkldnn)
        return forward(self, images)

    monkeypatch.setattr(Backbone, "forward", noted)
    return seen


def error(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).detach().norm() / expected.detach().norm())


@native
@pytest.mark.parametrize(("backbone", "size"), RESNETS)
def test_a_step_is_as_close_to_float32_as_channels_last(
    opaque: list[bool], backbone: dict[str, Any], size: int
):
    """Features, running statistics and gradients; in bfloat16 both differ from float32."""
    images, found = samples(8, size), []
    for layout, low in ((True, False), (True, True), ("auto", True)):
        encoder = encoder_of(backbone, size, layout).train()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=low):
            features = encoder(images)
        assert features.dtype == torch.float32
        # each image against the mean: what a loss of features sees
        (features - features.mean(0).detach()).square().mean().backward()
        found.append((features, dict(encoder.named_buffers()), dict(encoder.named_parameters())))
    assert opaque == [False, False, True]
    (exact, exact_buffers, exact_weights), theirs, ours = found
    assert error(ours[0], exact) < max(1.5 * error(theirs[0], exact), 0.01)
    for name, buffer in exact_buffers.items():
        if "num_batches" in name:
            assert torch.equal(ours[1][name], buffer)
        elif "running" in name:
            assert error(ours[1][name], buffer) < max(1.5 * error(theirs[1][name], buffer), 0.01)
    for name, weight in exact_weights.items():
        assert ours[2][name].grad.dtype == torch.float32
        limit = error(theirs[2][name].grad, weight.grad)
        assert error(ours[2][name].grad, weight.grad) < max(1.5 * limit, 0.02), name


@native
def test_the_key_and_the_evaluated_network_are_blocked_too(opaque: list[bool]):
    encoder = encoder_of({"name": "resnet18", "stem": "cifar"}, 32)
    images = samples(8, 32)
    with torch.no_grad():
        for mode in (encoder.train(), encoder.eval()):
            exact = copy.deepcopy(mode)(images)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                assert error(mode(images), exact) < 0.02
    assert opaque == [False, True, False, True]


@native
def test_the_same_twice():
    results = []
    for _ in range(2):
        encoder = encoder_of({"name": "resnet18", "stem": "imagenet"}, 64)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            features = encoder(samples(8, 64))
        features.square().sum().backward()
        results.append([features, *(one.grad for one in encoder.parameters())])
    assert all(torch.equal(one, two) for one, two in zip(*results, strict=True))


@native
def test_the_first_norm_group_alone_moves_the_statistics(opaque: list[bool]):
    one, two = (encoder_of({"name": "resnet18", "stem": "cifar"}, 32).train() for _ in range(2))
    images = samples(16, 32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        in_groups(one, images, 2)
        two(images[:8])
    assert opaque == [True] * 3
    for name, buffer in one.named_buffers():
        assert torch.equal(buffer, two.get_buffer(name)), name


@native
def test_gradients_reach_the_images_also_through_a_network_in_evaluation(opaque: list[bool]):
    encoder = encoder_of({"name": "resnet18", "stem": "cifar"}, 32).train()
    gradients = []
    for mode in (True, False):
        images = samples(4, 32).requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            encoder.train(mode)(images).square().sum().backward()
        gradients.append(images.grad)
    assert opaque == [True, False]  # oneDNN has no way back through fixed statistics
    assert all(torch.isfinite(one).all() and one.any() for one in gradients)


@native
def test_one_frozen_norm_keeps_a_network_out(opaque: list[bool]):
    encoder = encoder_of({"name": "resnet18", "stem": "cifar"}, 32).train()
    encoder.backbone.body.layer4[1].bn2.eval()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        encoder(samples(4, 32)).square().sum().backward()
    assert opaque == [False]


def test_where_it_pays(monkeypatch: pytest.MonkeyPatch):
    capabilities = {"avx512_bf16": True}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    backbone = Backbone(resnet(), 512).eval()
    assert layout_name(backbone, torch.device("cpu"), "auto") == "oneDNN"
    assert layout_name(backbone, torch.device("meta"), "auto") == "channels last"
    capabilities.clear()
    assert layout_name(backbone, torch.device("cpu"), "auto") == "channels last"


@native
def test_images_change_their_layout_in_bfloat16_only():
    backbone, images = Backbone(resnet(), 512), torch.zeros(1, 3, 32, 40)
    assert not blocked(images, backbone, "auto").is_mkldnn
    with torch.autocast("cpu", dtype=torch.float16):
        assert not blocked(images, backbone, "auto").is_mkldnn
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert blocked(images, backbone, "auto").is_mkldnn
        assert not blocked(images[:, :, :, :31], backbone, "auto").is_mkldnn


@native
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_compiled_encoder_is_one_graph_of_dense_tensors(opaque: list[bool]):
    encoder = encoder_of({"name": "resnet18", "stem": "imagenet"}, 64).eval()
    images = samples(4, 64)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        expected = encoder_of({"name": "resnet18", "stem": "imagenet"}, 64, True).eval()(images)
        compiled = torch.compile(encoder, backend="eager", fullgraph=True)
        assert torch.equal(compiled(images), expected)
    torch.compiler.reset()


@native
def test_as_features_are_extracted(opaque: list[bool]):
    encoder = encoder_of({"name": "resnet18", "stem": "imagenet"}, 64).eval()
    images = samples(4, 64)
    with torch.inference_mode():
        exact = encoder(images)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert error(encoder(images), exact) < 0.02
    assert opaque == [False, True]


@native
@pytest.mark.parametrize("way", ["forward", "forward_pre", "full_backward", "full_backward_pre"])
@pytest.mark.parametrize("place", ["backbone", "backbone.body.layer2"])
def test_who_looks_sees_dense_maps(opaque: list[bool], way: str, place: str):
    encoder = encoder_of({"name": "resnet18", "stem": "cifar"}, 32).train()
    seen: list[bool] = []

    def look(_module: nn.Module, *given: Any) -> None:
        tensors = [one for part in given for one in (part if isinstance(part, tuple) else (part,))]
        seen.extend(one.is_mkldnn for one in tensors if one is not None)

    getattr(encoder.get_submodule(place), f"register_{way}_hook")(look)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        encoder(samples(4, 32).requires_grad_()).square().sum().backward()
    assert opaque == [False]
    assert seen
    assert not any(seen)


@native
def test_a_backbone_of_ones_own_sees_dense_images(opaque: list[bool]):
    class Noisy(Backbone):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images + 0.1 * torch.randn_like(images))

    encoder = encoder_of({"name": "resnet18", "stem": "cifar"}, 32)
    encoder.backbone = Noisy(encoder.backbone.body, encoder.feature_dim)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        encoder(samples(2, 32))
        encoder.backbone = nn.Sequential(encoder.backbone)  # which knows of nothing
        encoder(samples(2, 32))
    assert opaque == [False, False]


def resnet(**given: Any) -> nn.Module:
    network = models.resnet18(**given)
    network.fc = nn.Identity()
    return network


@native
def test_networks_of_known_layers_take_the_layout():
    def takes(body: nn.Module) -> bool:
        name = layout_name(Backbone(body, 512).eval(), torch.device("cpu"), "auto")
        return name == "oneDNN"

    network = resnet()
    assert takes(network)
    handle = network.layer2.register_forward_hook(lambda *_: None)
    assert not takes(network)  # somebody looks at maps
    handle.remove()
    assert takes(network)
    network.layer1[0].conv1 = Convolution(64, 64, 3, padding=1)
    assert not takes(network)  # a convolution has a bias
    assert not takes(resnet(norm_layer=nn.InstanceNorm2d))
    assert not takes(nn.Sequential(nn.Conv2d(3, 4, 3)))
    assert not takes(nn.Identity())
    assert not takes(models.mobilenet_v3_small())


def test_poolings_are_replaced_and_give_the_same():
    assert isinstance(with_own_layers(resnet()).avgpool, DensePooling)
    maps = torch.randn(2, 4, 6, 6)
    expected = nn.functional.adaptive_avg_pool2d(maps, (2, 3))
    pooling = DensePooling((2, 3))
    assert torch.equal(pooling(maps), expected)
    assert torch.equal(pooling(maps.to_mkldnn()), expected)


@native
def test_other_layouts_are_forced(opaque: list[bool]):
    for layout in (True, False):
        encoder = encoder_of({"name": "resnet18", "stem": "cifar"}, 32, layout)
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
            encoder(samples(2, 32))
    assert opaque == [False, False]
