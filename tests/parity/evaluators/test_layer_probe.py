"""Jigsaw's and RotNet's probes of five stages against torch's own layers and Pillow."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from backbench.images import ArrayImages
from backbench.nn import Backbone, Encoder, EncoderSpec
from backbench.nn.backbones import build_backbone
from backbench.options.backbones import BackboneOptions
from backbench.options.views import ViewOptions
from backbench.plugin import EvaluationContext
from backbench.seeds import derive
from backbench.views.batches import RaggedBatch, UniformBatch, reader_pool
from backbench.views.views import random_view
from backbench_evaluators.crops import crop
from backbench_evaluators.evaluator_options import ProbeOptions
from backbench_evaluators.layer_probe import StageProbe
from tests.parity.evaluators.conftest import CLASSES, SEED, SIDE, context, floats, preset


def hooked_maps(backbone: Backbone, images: Tensor) -> list[Tensor]:
    """Catch the maps in a plain forward pass, by hooks."""
    body, caught = backbone.body, []

    def catch(_module, _inputs, output):
        caught.append(output.clone())

    handles = [getattr(body, f"layer{i}").register_forward_hook(catch) for i in (1, 2, 3, 4)]
    handles.append(body.maxpool.register_forward_pre_hook(lambda _m, got: caught.append(got[0])))
    with torch.no_grad():
        backbone(images)
    for handle in handles:
        handle.remove()
    return caught


def test_five_maps_of_a_resnet_18_at_224():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        backbone = build_backbone(BackboneOptions(name="resnet18")).eval()
        images = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        maps = backbone.stage_maps(images)
    assert backbone.stages == ("stem", "layer1", "layer2", "layer3", "layer4")
    assert [tuple(one.shape[1:]) for one in maps] == [
        (64, 112, 112), (64, 56, 56), (128, 28, 28), (256, 14, 14), (512, 7, 7),
    ]  # fmt: skip
    for ours, theirs in zip(maps, hooked_maps(backbone, images), strict=True):
        torch.testing.assert_close(ours, theirs)
    with torch.no_grad():
        torch.testing.assert_close(maps[-1].mean((2, 3)), backbone(images))


def test_inputs_of_the_five_classifiers_at_224():
    spec = EncoderSpec(
        BackboneOptions(name="resnet18").model_dump(mode="json"), 224, (0.5,) * 3, (0.5,) * 3
    )
    rng = np.random.default_rng(0)
    images = ArrayImages(
        rng.integers(0, 256, (2, 224, 224, 3), dtype=np.uint8), np.array([0, 1]), ["a", "b"]
    )
    with torch.random.fork_rng(devices=[]):
        encoder = Encoder(spec).eval()
    for name in ("saha2022-jigsaw", "saha2022-rotnet"):
        options = ProbeOptions.model_validate(preset("layer-probe", name) | {"epochs": 1})
        probe = StageProbe(options, EvaluationContext(0, "cpu", 100, lambda *_: None))
        probe.fit(encoder, images)
        inputs = {
            name: array.shape for name, array in probe.state().items() if name.endswith("weight")
        }
        assert inputs == {
            "stem.weight": (100, 9216),
            "layer1.weight": (100, 9216),
            "layer2.weight": (100, 8192),
            "layer3.weight": (100, 9216),
            "layer4.weight": (100, 8192),
        }


def torch_probes(*, rotnet: bool) -> list[nn.Sequential]:
    """Make the published classifiers of torch's layers, with the start that ours has."""
    draws = np.random.default_rng(derive(SEED, "start"))
    probes = []
    # of maps of 32², 32², 16², 8², 4²
    for side, width in ((12, 64), (12, 64), (8, 128), (6, 256), (4, 512)):
        inputs = width * side * side
        layer = nn.utils.skip_init(nn.Linear, inputs, CLASSES)
        if rotnet:
            start = draws.normal(0, math.sqrt(2 / CLASSES), (inputs + 1, CLASSES))
            start[-1] = 0
        else:
            start = draws.uniform(-1, 1, (inputs + 1, CLASSES)) / math.sqrt(inputs)
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(start[:-1].T))
            layer.bias.copy_(torch.from_numpy(start[-1]))
        norm = [nn.BatchNorm2d(width, affine=False)] if rotnet else []
        probes.append(nn.Sequential(nn.AdaptiveAvgPool2d(side), *norm, nn.Flatten(), layer))
    return probes


def torch_training(
    probes: list[nn.Sequential], encoder: Encoder, images: ArrayImages, *, rotnet: bool
) -> None:
    """Train them for two epochs of batches of 12, 12 and 6 images."""
    settings = {"weight_decay": 5e-4, "nesterov": True} if rotnet else {"weight_decay": 1e-4}
    parameters = [one for probe in probes for one in probe.parameters()]
    optimizer = torch.optim.SGD(parameters, lr=0.003, momentum=0.9, **settings)
    gamma = 0.2 if rotnet else 0.1
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [1], gamma=gamma)
    views = ViewOptions(scale=(0.08, 1), jitter=0, grayscale=0, blur=0)
    for epoch in range(2):
        order = np.random.default_rng(derive(SEED, "order", epoch)).permutation(30)
        for rows in np.split(order, [12, 24]):
            pixels = torch.tensor(images.pixels[rows])
            batch = UniformBatch(pixels, rows, epoch=epoch, seed=derive(SEED, "views"))
            seen = crop(batch, SIDE) if rotnet else random_view(batch, views, SIDE, 0)
            maps = hooked_maps(encoder.backbone, (seen - encoder.mean) / encoder.std)
            wanted = torch.tensor(images.labels[rows])
            loss = sum(F.cross_entropy(one(x), wanted) for one, x in zip(probes, maps, strict=True))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()


@pytest.mark.parametrize("recipe", ["saha2022-jigsaw", "saha2022-rotnet"])
def test_probes_are_torchs_layers(recipe: str, encoder: Encoder, images: ArrayImages):
    """AdaptiveAvgPool2d, BatchNorm2d(affine=False) or none, Linear: all five learn at once."""
    changes = {"label_fraction": 1.0, "epochs": 2, "batch_size": 12, "milestones": [1], "lr": 0.003}
    options = ProbeOptions.model_validate(preset("layer-probe", recipe) | changes)
    probe = StageProbe(options, context())
    probe.fit(encoder, images)
    state, found = probe.state(), probe.predict(encoder, images)
    rotnet = recipe.endswith("rotnet")
    peers = torch_probes(rotnet=rotnet)
    torch_training(peers, encoder, images, rotnet=rotnet)

    whole = (floats(images, np.arange(30)) - encoder.mean) / encoder.std
    maps = hooked_maps(encoder.backbone, whole)
    for name, peer, x in zip(encoder.backbone.stages, peers, maps, strict=True):
        layer = peer[-1]
        np.testing.assert_allclose(state[f"{name}.weight"], layer.weight.detach(), atol=1e-5)
        np.testing.assert_allclose(state[f"{name}.bias"], layer.bias.detach(), atol=1e-5)
        if rotnet:
            np.testing.assert_allclose(state[f"{name}.mean"], peer[1].running_mean, atol=1e-5)
            np.testing.assert_allclose(state[f"{name}.variance"], peer[1].running_var, rtol=1e-4)
        with torch.no_grad():
            expected = peer.eval()(x).numpy()
        np.testing.assert_allclose(found[name], expected, atol=2e-3)


@pytest.mark.parametrize("size", [(375, 500), (300, 280), (256, 256)])
def test_rotnets_crop_is_pillows(size: tuple[int, int]):
    """Resize(256), RandomCrop(224), flip: the same square of the resized image."""
    rng = np.random.default_rng(1)
    coarse = rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)
    image = np.asarray(Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC))
    with reader_pool() as pool:
        batch = RaggedBatch(
            [image] * 8, np.arange(8), epoch=0, seed=5, device=torch.device("cpu"), pool=pool
        )
        views = crop(batch, 224).permute(0, 2, 3, 1).numpy()
    height, width = size
    short = min(size)
    whole = Image.fromarray(image).resize(
        (width * 256 // short, height * 256 // short), Image.Resampling.BILINEAR
    )
    resized = np.asarray(whole, dtype=np.float32) / 255
    corners = set()
    for view in views:
        errors = {
            (top, left, flipped): np.abs((view[:, ::-1] if flipped else view) - square).max()
            for top in range(resized.shape[0] - 223)
            for left in range(resized.shape[1] - 223)
            for flipped in (False, True)
            for square in [resized[top : top + 224, left : left + 224]]
            if np.abs(view[0, -1 if flipped else 0] - square[0, 0]).max() < 0.02
        }
        best = min(errors, key=errors.get)
        assert errors[best] < 0.02
        corners.add(best)
    assert len(corners) > 4
    assert {flipped for *_, flipped in corners} == {False, True}
