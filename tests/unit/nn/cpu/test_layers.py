"""Convolutions over small maps are the matrix products that they are."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torchvision import models

from backbench.nn.backbones import build_backbone
from backbench.nn.cpu import with_own_layers
from backbench.nn.cpu.layers import Convolution
from backbench.options.backbones import BackboneOptions

#: Kernel, stride, padding, and height and width of the maps.
SMALL = [
    (3, 1, 1, (2, 2)),
    (3, 2, 1, (2, 2)),
    (3, 1, 1, (1, 1)),
    (3, 1, 1, (1, 2)),
    (3, 1, (0, 1), (4, 1)),
    (5, 1, 2, (3, 4)),
    (7, 2, 3, (4, 6)),
    ((3, 5), 1, (1, 2), (2, 3)),
    ((3, 5), (2, 1), (0, 2), (3, 2)),
]


def both(*arguments, **options):
    torch.manual_seed(0)
    plain = nn.Conv2d(*arguments, **options).double()
    ours = Convolution(*arguments, **options).double()
    ours.load_state_dict(plain.state_dict())
    return plain, ours


def products(monkeypatch):
    """Count the dense layers that are computed."""
    done = []
    linear = nn.functional.linear
    monkeypatch.setattr(nn.functional, "linear", lambda *given: done.append(1) or linear(*given))
    return done


@pytest.mark.parametrize("case", SMALL)
@pytest.mark.parametrize("bias", [True, False])
def test_values_and_gradients_are_the_convolutions(monkeypatch, case, bias):
    *how, size = case
    plain, ours = both(5, 7, *how, bias=bias)
    maps = torch.randn(4, 5, *size, dtype=torch.float64, requires_grad=True)
    done = products(monkeypatch)
    found = []
    for layer in (plain, ours):
        out = layer(maps)
        to = [maps, *layer.parameters()]
        torch.manual_seed(1)
        found.append(
            [out, *torch.autograd.grad(out, to, torch.randn(out.shape, dtype=torch.float64))]
        )
    assert len(done) == 1
    for theirs, own in zip(*found, strict=True):
        torch.testing.assert_close(own, theirs)


def test_a_map_that_is_not_seen_whole_meets_zeros(monkeypatch):
    plain, ours = both(2, 3, (3, 7), (1, 3), (1, 1))
    maps = torch.randn(3, 2, 1, 8, dtype=torch.float64)
    expected, done = plain(maps), products(monkeypatch)
    torch.testing.assert_close(ours(maps), expected)
    assert len(done) == 1


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({"kernel_size": 3, "padding": 1}, (3, 3)),
        ({"kernel_size": 1}, (1, 1)),
        ({"kernel_size": 3, "padding": 1, "groups": 2}, (2, 2)),
        ({"kernel_size": 3, "padding": 2, "dilation": 2}, (2, 2)),
        ({"kernel_size": 3, "padding": "same"}, (2, 2)),
        ({"kernel_size": 3, "padding": 1, "padding_mode": "circular"}, (2, 2)),
    ],
)
def test_others_stay_what_they_are(monkeypatch, options, size):
    plain, ours = both(4, 4, **options)
    maps = torch.randn(2, 4, *size, dtype=torch.float64)
    done = products(monkeypatch)
    assert torch.equal(ours(maps), plain(maps))
    assert not done


def test_autocast_computes_in_bfloat16_and_gives_gradients_in_float32():
    torch.manual_seed(0)
    ours = Convolution(8, 8, 3, 1, 1, bias=False).to(memory_format=torch.channels_last)
    maps = torch.randn(4, 8, 2, 2).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = ours(maps)
    out.float().sum().backward()
    assert out.dtype == torch.bfloat16
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert ours.weight.grad.dtype == torch.float32
    assert ours.weight.grad.stride() == ours.weight.stride()
    exact = nn.functional.conv2d(maps, ours.weight, None, 1, 1)
    torch.testing.assert_close(out.float(), exact, atol=0.02, rtol=0.02)


def test_a_network_keeps_its_parameters_their_names_and_the_generators_state():
    torch.manual_seed(0)
    network = models.resnet18()
    state, rng = network.state_dict(), torch.get_rng_state()
    kept = dict(network.named_parameters())
    with_own_layers(network)
    assert torch.equal(torch.get_rng_state(), rng)
    assert list(network.state_dict()) == list(state)
    assert all(one is kept[name] for name, one in network.named_parameters())
    found = [one for one in network.modules() if isinstance(one, nn.Conv2d)]
    assert len(found) == 20
    assert {type(one) for one in found} == {Convolution}


def test_the_last_stage_at_64_pixels_is_three_products(monkeypatch):
    """Its first convolution sees 4 × 4 pixels, the others 2 × 2."""
    torch.manual_seed(0)
    backbone = build_backbone(BackboneOptions(name="resnet18")).eval()
    done = products(monkeypatch)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        own = backbone(images)
        assert len(done) == 3
        for module in backbone.modules():
            if isinstance(module, Convolution):
                module.__class__ = nn.Conv2d
        torch.testing.assert_close(own, backbone(images), atol=1e-4, rtol=1e-4)


def test_the_numbers_of_other_networks_stay():
    """Tiles of 8 pixels have maps of 2 x 2 and of one in the embedded benchmark."""
    backbone = build_backbone(BackboneOptions(name="tiny-resnet"))
    assert not any(isinstance(one, Convolution) for one in backbone.modules())


def test_what_a_convolution_takes_is_taken():
    plain, ours = both(4, 5, 3, 1, 1)
    for maps in (
        torch.zeros(0, 4, 2, 2, dtype=torch.float64),
        torch.randn(4, 2, 2, dtype=torch.float64),  # one image alone
    ):
        assert torch.equal(ours(maps), plain(maps))
    with torch.autocast("cpu", dtype=torch.bfloat16):  # which leaves float64 alone
        maps = torch.randn(2, 4, 2, 2, dtype=torch.float64)
        torch.testing.assert_close(ours(maps), plain(maps))


def test_windows_that_see_padding_alone():
    plain, ours = both(2, 3, 3, 1, 4)
    maps = torch.randn(2, 2, 2, 2, dtype=torch.float64)
    torch.testing.assert_close(ours(maps), plain(maps))
