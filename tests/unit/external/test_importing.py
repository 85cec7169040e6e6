"""What comes out of every layout is the network that went in, and nothing else does."""

from __future__ import annotations

import functools
import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision import models

from backbench.errors import UsageError
from backbench.external.importing import describe, import_encoder, inspect, resnet_of, stem_of
from backbench.external.state_dicts import layout_of, tensors_of
from backbench.nn import Encoder, EncoderSpec, save_encoder
from backbench.options.backbones import BackboneOptions
from tests.unit.external import conftest as files

Make = Callable[[nn.Module, nn.Module], dict[str, Any]]

#: Layout, how its files are made, and the name under which such a file is saved.
CASES: dict[str, tuple[str, Make, str]] = {
    "moco": ("moco", files.moco, "checkpoint_0199.pth.tar"),
    "byol": ("byol", files.byol, "199.pt"),
    "jigsaw": ("jigsaw", files.jigsaw, "checkpoint.pth.tar"),
    "rotnet": ("rotnet", files.rotnet, "model_net_epoch105"),
    "torchvision": ("torchvision", files.torchvision, "resnet18.pth"),
    "torchvision-parallel": ("torchvision", files.parallel, "model_90.pth"),
    "lightly": ("lightly", files.lightly, "last.ckpt"),
    "lightly-benchmark": ("lightly", files.lightly_named, "last.ckpt"),
    "lightly-dino": ("lightly", files.lightly_dino, "last.ckpt"),
    "solo-learn": ("solo-learn", files.solo_learn, "byol-ep=999.ckpt"),
}

#: Of ImageNet's colors: what an import assumes.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def features(made: nn.Module, images: Tensor) -> Tensor:
    """Return what a torchvision ResNet gives before its head, on normalized images."""
    mean, std = (torch.tensor(one).view(3, 1, 1) for one in (MEAN, STD))
    head, made.fc = made.fc, nn.Identity()  # type: ignore[assignment]
    with torch.no_grad():
        normalized = ((images - mean) / std).contiguous(memory_format=torch.channels_last)
        found: Tensor = made(normalized)
    made.fc = head  # type: ignore[assignment]
    return found


def samples(side: int = 96) -> Tensor:  # at 64 the last maps are small, and sums rounded otherwise
    return torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0))


def imported(path: Path, **choices: Any) -> Encoder:
    """Import as the command and the stage do, one after the other."""
    options, _ = inspect(path, **choices)
    encoder, _ = import_encoder(options)
    return encoder


def same(encoder: Encoder, made: nn.Module, side: int = 96) -> None:
    images = samples(side)
    with torch.no_grad():
        torch.testing.assert_close(encoder(images), features(made, images), rtol=0, atol=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_features_are_those_of_the_network(
    tmp_path: Path, made: nn.Module, other: nn.Module, case: str
) -> None:
    layout, make, name = CASES[case]
    held = make(made, other)
    assert layout_of(tensors_of(held)) == layout
    torch.save(held, tmp_path / name)
    options, taken = inspect(tmp_path / name, layout=layout)
    assert (options.backbone.name, options.backbone.stem) == ("resnet18", "imagenet")
    assert len(taken.tensors) == 120  # a ResNet-18 has 122, two of them the head's
    same(import_encoder(options)[0], made)


@pytest.mark.parametrize("case", ["moco", "byol", "rotnet", "lightly"])
def test_safetensors_hold_the_same(
    tmp_path: Path, made: nn.Module, other: nn.Module, case: str
) -> None:
    layout, make, _ = CASES[case]
    held = make(made, other)
    held = held.get("state_dict", held.get("network", held))
    path = tmp_path / "weights.safetensors"
    save_file({name: one.clone() for name, one in held.items()}, path)
    same(imported(path, layout=layout), made)


def test_what_is_left_aside_is_listed(tmp_path: Path, made: nn.Module, other: nn.Module) -> None:
    torch.save(files.moco(made, other), tmp_path / "c.pth.tar")
    options, taken = inspect(tmp_path / "c.pth.tar")
    assert taken.left == {
        "module.encoder_q": 2,
        "module.encoder_k": 122,
        "module.queue": 1,
        "module.queue_ptr": 1,
        "module.scalar_label": 1,
    }
    line = describe(options, taken)
    assert "layout moco, resnet18 (imagenet), 224 px" in line
    assert "120 tensors taken, 127 left aside" in line


def test_rotnet_has_244_keys_and_both_halves_agree(
    tmp_path: Path, made: nn.Module, other: nn.Module
) -> None:
    held = files.rotnet(made, other)
    assert len(held["network"]) == 244
    wrong = held["network"]["_feature_blocks.4.0.conv1.weight"].clone()
    wrong[0, 0, 0, 0] += 1
    held["network"]["_feature_blocks.4.0.conv1.weight"] = wrong
    torch.save(held, tmp_path / "net")
    with pytest.raises(UsageError, match=r"layer1\.0\.conv1\.weight hold different numbers"):
        inspect(tmp_path / "net")


@pytest.mark.parametrize(
    "arch",
    [
        *("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"),
        *("wide_resnet50_2", "wide_resnet101_2"),
        *("resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d"),
    ],
)
def test_the_shapes_tell_the_network(arch: str) -> None:
    with torch.device("meta"):
        network = models.get_model(arch, weights=None)
    shapes = {name: tuple(one.shape) for name, one in network.state_dict().items()}
    assert resnet_of(shapes) == arch
    assert stem_of(shapes) == "imagenet"
    del shapes["layer1.0.conv2.weight"]
    assert resnet_of(shapes) is None
    assert resnet_of({**shapes, "layer1.0.conv2.weight": (48, 48, 3, 3)}) is None


def test_the_first_kernel_tells_the_stem(tmp_path: Path) -> None:
    network = files.network(stem="cifar", seed=4)
    torch.save(network.state_dict(), tmp_path / "w.pth")
    options, _ = inspect(tmp_path / "w.pth")
    assert (options.backbone.name, options.backbone.stem) == ("resnet18", "cifar")
    same(import_encoder(options)[0], network, side=32)


def test_solo_learn_pads_its_cifar_stem_by_two(tmp_path: Path) -> None:
    network = files.network(stem="cifar-padded", seed=3)
    torch.save(files.solo_learn(network, network), tmp_path / "w.ckpt")
    options, _ = inspect(tmp_path / "w.ckpt")
    assert options.backbone.stem == "cifar-padded"
    same(import_encoder(options)[0], network, side=32)
    narrow = imported(tmp_path / "w.ckpt", stem="cifar")
    images = samples(32)
    with torch.no_grad():
        assert not torch.allclose(narrow(images), features(network, images), atol=1e-3)


@functools.cache
def of_timm(name: str) -> tuple[dict[str, Tensor], Tensor]:
    """Return a network's weights, and its features of normalized images; both are only read."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = timm.create_model(name, num_classes=10).eval()
    state = network.state_dict()
    mean, std = (torch.tensor(one).view(3, 1, 1) for one in (MEAN, STD))
    network.reset_classifier(0)
    with torch.no_grad():
        return state, network((samples(224)[:1] - mean) / std)


@pytest.mark.parametrize("name", ["resnet26", "vit_tiny_patch16_224", "convnext_atto"])
@pytest.mark.parametrize("bare", [True, False], ids=["bare", "held"])
def test_timm(tmp_path: Path, name: str, bare: bool) -> None:
    state, wanted = of_timm(name)
    held = state if bare else {"state_dict": files.under("module.", state), "epoch": 3}
    torch.save(held, tmp_path / "w.pth.tar")
    encoder = imported(tmp_path / "w.pth.tar", layout="timm", arch=name)
    assert encoder.spec.backbone["name"] == f"timm/{name}"
    with torch.no_grad():
        torch.testing.assert_close(encoder(samples(224)[:1]), wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("whole", [True, False], ids=["folder", "file"])
def test_our_own_encoders(tmp_path: Path, whole: bool) -> None:
    spec = EncoderSpec(
        backbone=BackboneOptions(name="tiny-resnet", widths=(4, 8), strides=(1, 2)).model_dump(
            mode="json"
        ),
        image_size=24,
        mean=(0.1, 0.2, 0.3),
        std=(0.9, 0.8, 0.7),
    )
    with torch.random.fork_rng():
        encoder = Encoder(spec).eval()
    folder = tmp_path / "mine"
    folder.mkdir()
    save_encoder(folder, encoder)
    path = folder if whole else folder / "encoder.safetensors"
    found = imported(path)
    assert found.spec == spec
    with torch.no_grad():
        torch.testing.assert_close(found(samples(24)), encoder(samples(24)), rtol=0, atol=0)
    with pytest.raises(UsageError, match="leave out --arch"):
        inspect(path, image_size=32)
    (folder / "encoder.json").unlink()
    with pytest.raises(UsageError, match=r"encoder\.json should describe this encoder"):
        inspect(path)


def test_old_torch_had_no_counters(tmp_path: Path, made: nn.Module) -> None:
    state = {k: v for k, v in made.state_dict().items() if not k.endswith("num_batches_tracked")}
    torch.save(state, tmp_path / "w.pth")
    encoder = imported(tmp_path / "w.pth")
    same(encoder, made)
    counters = [v for k, v in encoder.state_dict().items() if k.endswith("num_batches_tracked")]
    assert len(counters) == 20
    assert not any(counter.any() for counter in counters)


def test_half_precision_is_read(tmp_path: Path, made: nn.Module) -> None:
    state = {k: v.half() if v.is_floating_point() else v for k, v in made.state_dict().items()}
    torch.save(state, tmp_path / "w.pth")
    weight = imported(tmp_path / "w.pth").state_dict()["backbone.body.conv1.weight"]
    assert weight.dtype == torch.float32
    assert torch.equal(weight, state["conv1.weight"].float())


def test_odd_tensors_are_named(tmp_path: Path, made: nn.Module) -> None:
    weight = made.state_dict()["layer1.0.conv1.weight"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch deprecates quantized tensors
        odd = {
            "sparse": weight.to_sparse(),
            "quantized": torch.quantize_per_tensor(weight, 0.1, 0, torch.qint8),
            "meta": weight.to("meta"),
        }
        for tensor in odd.values():
            text = refusal(tmp_path, {**made.state_dict(), "layer1.0.conv1.weight": tensor})
            assert "1 tensors are sparse, quantized, nested or without numbers: layer1.0" in text
    for tensor, reason in (
        (weight.double() * 1e300, "not finite in single precision: layer1.0.conv1.weight"),
        (torch.ones(1).expand(10**6, 10**6), "of another shape: layer1.0.conv1.weight"),
        (torch.ones(0, 64, 3, 3), "of another shape: layer1.0.conv1.weight"),
    ):
        assert reason in refusal(tmp_path, {**made.state_dict(), "layer1.0.conv1.weight": tensor})


def test_a_negative_variance_is_named(tmp_path: Path, made: nn.Module) -> None:
    state = {**made.state_dict(), "layer1.0.bn1.running_var": -torch.ones(64)}
    assert "1 below zero: layer1.0.bn1.running_var" in refusal(tmp_path, state)


def test_views_and_other_memory_formats_are_read(tmp_path: Path, made: nn.Module) -> None:
    state = dict(made.state_dict())
    state["layer1.0.conv1.weight"] = state["layer1.0.conv1.weight"].to(
        memory_format=torch.channels_last
    )
    state["bn1.weight"] = torch.stack([state["bn1.weight"]] * 2, 1)[:, 1]
    torch.save(state, tmp_path / "w.pth")
    same(imported(tmp_path / "w.pth"), made)


# -- what cannot be an encoder is an error, never a random one -----------------------------------


def refusal(tmp_path: Path, state: dict[str, Any], **choices: Any) -> str:
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(UsageError) as caught:
        inspect(tmp_path / "w.pth", **choices)
    assert str(caught.value).startswith(str(tmp_path / "w.pth"))
    return str(caught.value)


def test_missing_and_surplus_keys_are_listed(tmp_path: Path, made: nn.Module) -> None:
    state = dict(made.state_dict())
    del state["layer3.0.bn2.running_var"]
    state["layer5.weight"] = torch.zeros(1)
    text = refusal(tmp_path, state)
    assert "does not fit resnet18" in text
    assert "1 missing: layer3.0.bn2.running_var" in text
    assert "1 too many: layer5.weight" in text


def test_a_long_list_is_cut(tmp_path: Path, made: nn.Module) -> None:
    state = {k: v for k, v in made.state_dict().items() if not k.startswith("layer4")}
    text = refusal(tmp_path, state, arch="resnet18")
    assert "25 missing: layer4.0.conv1.weight" in text
    assert text.endswith(" and 5 more")
    assert text.count("layer4.") == 20


def test_wrong_shapes_are_told_with_what_they_are_of(tmp_path: Path, made: nn.Module) -> None:
    text = refusal(tmp_path, dict(made.state_dict()), stem="cifar")
    assert "1 of another shape: conv1.weight (64, 3, 7, 7), not (64, 3, 3, 3)" in text
    text = refusal(tmp_path, dict(made.state_dict()), arch="resnet34")
    assert "does not fit resnet34 (the shapes are those of resnet18)" in text


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_are_finite(tmp_path: Path, made: nn.Module, number: float) -> None:
    state = {name: tensor.clone() for name, tensor in made.state_dict().items()}
    state["layer2.1.conv1.weight"][3, 2, 1, 0] = number
    assert "1 not finite in single precision: layer2.1.conv1.weight" in refusal(tmp_path, state)


def test_weights_have_fractions(tmp_path: Path, made: nn.Module) -> None:
    state = {**made.state_dict(), "layer1.0.bn1.weight": torch.ones(64, dtype=torch.int8)}
    assert "1 without fractions: layer1.0.bn1.weight torch.int8" in refusal(tmp_path, state)


def test_another_layout_is_named(tmp_path: Path, made: nn.Module, other: nn.Module) -> None:
    for case, told in (
        ("moco", "byol"),
        ("byol", "moco"),
        ("rotnet", "torchvision"),
        ("lightly", "solo-learn"),
        ("moco", "torchvision"),
        ("solo-learn", "rotnet"),
    ):
        layout, make, _ = CASES[case]
        text = refusal(tmp_path, make(made, other), layout=told)
        assert f"look like layout {layout!r}: try --layout {layout}" in text, text


def test_an_open_stem_is_not_guessed(tmp_path: Path, made: nn.Module) -> None:
    # lightly's or solo-learn's: with a 3×3 stem these are two networks, with a 7×7 one they are not
    network = files.network(stem="cifar", seed=4)
    state = files.under("backbone.", files.backbone(network))
    assert "say --stem cifar or --stem cifar-padded" in refusal(tmp_path, state)
    same(imported(tmp_path / "w.pth", stem="cifar"), network, side=32)
    torch.save(files.under("backbone.", files.backbone(made)), tmp_path / "w.pth")
    same(imported(tmp_path / "w.pth"), made)
    assert "it holds no tensor" in refusal(tmp_path, {})


def test_lightlys_own_resnet_is_no_torchvision_one(tmp_path: Path) -> None:
    state = {
        "model.backbone.0.weight": torch.zeros(64, 3, 3, 3),
        "model.backbone.3.0.shortcut.0.weight": torch.zeros(128, 64, 1, 1),
    }
    assert "lightly's own ResNet" in refusal(tmp_path, {"state_dict": state}, layout="lightly")


def test_names_are_suggested(tmp_path: Path, made: nn.Module) -> None:
    path = tmp_path / "w.pth"
    torch.save(made.state_dict(), path)
    for choices, sentence in (
        ({"layout": "mocco"}, "did you mean 'moco'"),
        ({"layout": "timm"}, "name the model with --arch"),
        ({"layout": "timm", "arch": "resnet18x"}, "did you mean 'resnet18'"),
        ({"arch": "resnet19"}, "'resnet19' is not a backbone"),
        ({"arch": "timm/resnet18", "stem": "cifar"}, "has a stem of its own"),
    ):
        with pytest.raises(UsageError, match=sentence):
            inspect(path, **choices)  # type: ignore[arg-type]


def test_no_resnet_has_to_be_named(tmp_path: Path) -> None:
    state, _ = of_timm("vit_tiny_patch16_224")
    for layout in ("auto", "torchvision"):
        text = refusal(tmp_path, state, layout=layout)
        assert "its keys fit no layout (its keys: cls_token, pos_embed, patch_embed" in text
        assert "say which: --arch timm/NAME" in text
    options, _ = inspect(tmp_path / "w.pth", arch="timm/vit_tiny_patch16_224")
    assert options.layout == "timm"


def test_identity_is_without_the_place(tmp_path: Path, made: nn.Module) -> None:
    torch.save(made.state_dict(), tmp_path / "a.pth")
    torch.save(made.state_dict(), tmp_path / "b.pth")
    first, _ = inspect(tmp_path / "a.pth")
    second, _ = inspect(tmp_path / "b.pth", layout="torchvision", arch="resnet18", image_size=224)
    assert first.use().identity == second.use().identity
    assert "weights" not in json.dumps(first.use().identity)
    third, _ = inspect(tmp_path / "a.pth", image_size=32)
    assert first.use().identity != third.use().identity
    assert replace(first.use(), options={}) == replace(second.use(), options={})
