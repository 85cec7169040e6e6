"""Backbones and encoders."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from backbench.errors import PluginError, ResultError, StoreError
from backbench.nn import Backbone, Encoder, EncoderSpec, build_backbone, load_encoder, save_encoder
from backbench.nn.backbones import backbone_problem
from backbench.options.backbones import BackboneOptions


def spec(**backbone: object) -> EncoderSpec:
    options = BackboneOptions.model_validate({"name": "tiny-resnet"} | backbone)
    return EncoderSpec(options.model_dump(mode="json"), 32, (0.5, 0.4, 0.3), (0.25, 0.2, 0.1))


@pytest.mark.parametrize(
    ("options", "side", "dim"),
    [
        ({"name": "tiny-resnet"}, 32, 64),
        ({"name": "tiny-resnet", "widths": (8, 24), "strides": (2, 2)}, 8, 24),
        ({"name": "tiny-resnet", "stem_kernel": 5, "stem_stride": 4, "stem_width": 4}, 16, 64),
        ({"name": "resnet18"}, 32, 512),
        ({"name": "resnet18", "stem": "cifar"}, 8, 512),
        ({"name": "timm/resnet10t"}, 32, 512),
        (
            {
                "name": "timm/vit_tiny_patch16_224",
                "arguments": {"img_size": 32, "patch_size": 4, "depth": 2},
            },
            32,
            192,
        ),
    ],
)
def test_features_of_backbones(options: dict[str, object], side: int, dim: int):
    backbone = build_backbone(BackboneOptions.model_validate(options)).eval()
    features = backbone(torch.rand(2, 3, side, side))
    assert backbone.feature_dim == dim
    assert features.shape == (2, dim)
    assert features.dtype == torch.float32


def test_cifar_stem_keeps_the_resolution():
    body = build_backbone(BackboneOptions(name="resnet18", stem="cifar")).body
    maps = body.get_submodule("maxpool")(body.get_submodule("conv1")(torch.rand(1, 3, 32, 32)))
    assert maps.shape == (1, 64, 32, 32)


def test_unknown_timm_model():
    with pytest.raises(PluginError, match="no model called 'nothing'"):
        build_backbone(BackboneOptions(name="timm/nothing"))


@pytest.mark.parametrize(
    ("name", "side", "problem"),
    [
        ("timm/resnet18", 32, None),
        ("timm/vgg11", 32, None),
        ("timm/vit_tiny_patch16_224", 224, None),
        ("timm/vit_tiny_patch16_224", 32, "cannot see images of 32 x 32 px: Input height (32)"),
        ("timm/convnext_atto", 8, "cannot see images of 8 x 8 px: "),
        ("timm/resnet81", 32, "has no model called 'resnet81': did you mean 'resnet"),
        ("timm/qqqq", 32, "has no model called 'qqqq'"),
    ],
)
def test_what_a_timm_model_cannot_see_is_said_without_weights(
    name: str, side: int, problem: str | None
):
    found = backbone_problem(BackboneOptions(name=name), side)
    assert found is None if problem is None else problem in str(found)


@pytest.mark.parametrize(
    ("arguments", "side", "problem"),
    [
        ({"img_size": 32, "patch_size": 4}, 32, None),
        ({"img_size": 32}, 64, "cannot see images of 64 x 64 px: Input height (64)"),
        ({"img_sise": 32}, 32, 'with arguments = {"img_sise": 32}: '),
        ({"img_size": "wide"}, 32, "timm cannot build 'vit_tiny_patch16_224' with arguments = "),
    ],
)
def test_arguments_of_a_timm_model_are_tried_without_weights(
    arguments: dict[str, object], side: int, problem: str | None
):
    options = BackboneOptions.model_validate(
        {"name": "timm/vit_tiny_patch16_224", "arguments": arguments}
    )
    found = backbone_problem(options, side)
    assert found is None if problem is None else problem in str(found)


def test_an_encoder_with_arguments_survives_the_disk(tmp_path: Path):
    arguments = {"img_size": 32, "patch_size": 8, "depth": 1}
    made = spec(name="timm/vit_tiny_patch16_224", arguments=arguments)
    encoder = Encoder(made).eval()
    save_encoder(tmp_path, encoder)
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(load_encoder(tmp_path)(images), encoder(images))


def test_encoder_normalizes():
    encoder = Encoder(spec()).eval()
    images = torch.rand(3, 3, 32, 32)
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in (encoder.spec.mean, encoder.spec.std))
    before = images.clone()
    assert torch.allclose(encoder(images), encoder.backbone((images - mean) / std), atol=1e-6)
    assert torch.equal(images, before)


def test_encoder_survives_the_disk(tmp_path: Path):
    encoder = Encoder(spec()).to(memory_format=torch.channels_last)
    encoder(torch.rand(8, 3, 32, 32))  # moves the running statistics
    save_encoder(tmp_path, encoder.eval())
    again = load_encoder(tmp_path)
    images = torch.rand(2, 3, 32, 32)
    assert again.spec == encoder.spec
    assert not again.training
    assert torch.equal(again(images), encoder(images))


def test_loading_leaves_the_generator_alone(tmp_path: Path):
    save_encoder(tmp_path, Encoder(spec()))
    before = torch.get_rng_state()
    load_encoder(tmp_path)
    assert torch.equal(torch.get_rng_state(), before)


def test_equal_encoders_are_equal_files(tmp_path: Path):
    encoder = Encoder(spec())
    for name in "ab":
        (tmp_path / name).mkdir()
        save_encoder(tmp_path / name, encoder)
    for file in ("encoder.safetensors", "encoder.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


@pytest.mark.parametrize("damage", ["weights", "missing", "extra", "json", "version", "absent"])
def test_damaged_encoders_are_refused(tmp_path: Path, damage: str):
    save_encoder(tmp_path, Encoder(spec()))
    weights, document = tmp_path / "encoder.safetensors", tmp_path / "encoder.json"
    tensors = load_file(weights)
    if damage == "weights":
        weights.write_bytes(weights.read_bytes()[:100])
    elif damage == "missing":
        tensors.popitem()
        save_file(tensors, weights)
    elif damage == "extra":
        save_file(tensors | {"more": torch.zeros(1)}, weights)
    elif damage == "json":
        document.write_text("{")
    elif damage == "version":
        document.write_text(json.dumps(json.loads(document.read_text()) | {"format": 99}))
    else:
        document.unlink()
    with pytest.raises(StoreError):
        load_encoder(tmp_path)


def test_maps_of_the_stages_of_a_tiny_resnet():
    options = BackboneOptions(
        name="tiny-resnet", widths=(8, 12), strides=(1, 2), stem_width=4, stem_stride=2
    )
    backbone = build_backbone(options).eval()
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        maps = backbone.stage_maps(images)
        torch.testing.assert_close(maps[-1].mean((2, 3)), backbone(images))
    assert backbone.stages == ("stem", "block1", "block2")
    assert [tuple(one.shape) for one in maps] == [(2, 4, 16, 16), (2, 8, 16, 16), (2, 12, 8, 8)]


@pytest.mark.parametrize(
    ("name", "network"),
    [("timm/vit_tiny_patch16_224", "VisionTransformer"), ("timm/resnet18", "ResNet")],
)
def test_stages_of_timm_models_are_not_known(name: str, network: str):
    """Its ResNets have torchvision's names for their stages, and others between them."""
    options = BackboneOptions(name=name)
    assert not options.has_stages
    with pytest.raises(PluginError, match=f"the stages of {network} are not known"):
        build_backbone(options).stage_maps(torch.zeros(1, 3, 224, 224))


@pytest.mark.parametrize("name", ["tiny-resnet", "resnet18", "resnext50_32x4d"])
def test_stages_of_the_others_are_known(name: str):
    options = BackboneOptions(name=name)
    assert options.has_stages
    assert build_backbone(options).stages[0] == "stem"


def test_an_encoder_normalizes_before_its_stages():
    spec = EncoderSpec(
        BackboneOptions(name="tiny-resnet").model_dump(mode="json"),
        16, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6),
    )  # fmt: skip
    encoder = Encoder(spec).eval()
    images = torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(encoder.stage_maps(images)[-1].mean((2, 3)), encoder(images))


class Shifted(nn.Module):
    """A body with numbers that no state holds, as position tables are."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 4)
        self.register_buffer("table", torch.arange(3.0), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        return self.layer(images.mean((2, 3)) + self.table)


@pytest.mark.parametrize("own", [False, True])
def test_a_loaded_encoder_can_be_trained_and_has_all_its_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: bool
):
    if own:
        monkeypatch.setattr("backbench.nn.encoder.build_backbone", lambda _: Backbone(Shifted(), 4))
    torch.manual_seed(0)
    encoder = Encoder(spec()).eval()
    save_encoder(tmp_path, encoder)
    again = load_encoder(tmp_path)
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(again(images), encoder(images))
    assert all(one.requires_grad for one in again.parameters())
    (tmp_path / "encoder.safetensors").unlink()  # it may have been mapped
    again(images).sum().backward()


def test_half_precision_on_disk_is_float32_again(tmp_path: Path):
    save_encoder(tmp_path, Encoder(spec()).to(torch.bfloat16))
    again = load_encoder(tmp_path)
    assert {one.dtype for one in again.parameters()} == {torch.float32}
    assert again(torch.rand(1, 3, 32, 32)).isfinite().all()


@pytest.mark.parametrize("name", ["backbone.body.stem.weight", "backbone.body.norm.running_var"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_not_saved(tmp_path: Path, name: str, value: float):
    encoder = Encoder(spec())
    encoder.state_dict()[name].view(-1)[0] = value
    with pytest.raises(ResultError, match=f"1 tensors of the encoder are not finite: {name}"):
        save_encoder(tmp_path, encoder)
    assert not list(tmp_path.iterdir())
