from __future__ import annotations

import pytest
from pydantic import ValidationError

from backbench.options.backbones import BackboneOptions
from backbench.options.training import Options
from backbench.options.views import image_side
from backbench.plugin import DatasetMetadata
from backbench_defenses.defense_options import DistillOptions
from backbench_ssl.method_options import BYOLOptions, JigsawOptions, MoCoOptions, RotNetOptions


def metadata(train: int = 100_000, size: tuple[int, int] | None = None) -> DatasetMetadata:
    return DatasetMetadata(("a", "b"), train, 100, size, (train // 2, train - train // 2))


METHODS = [MoCoOptions, BYOLOptions, JigsawOptions, RotNetOptions, DistillOptions]


@pytest.mark.parametrize("model", METHODS)
def test_published_defaults_suit_photographs(model: type[Options]):
    assert list(model().problems(metadata())) == []


@pytest.mark.parametrize("model", METHODS)
def test_options_survive_json(model: type[Options]):
    options = model()
    assert model.model_validate(options.model_dump(mode="json")) == options
    assert model.model_validate_json(options.model_dump_json()) == options


@pytest.mark.parametrize("model", METHODS)
def test_every_option_is_described(model: type[Options]):
    def described(options: type[Options]) -> None:
        for name, field in options.model_fields.items():
            assert field.description, name
            if isinstance(field.default, Options):
                described(type(field.default))

    described(model)


def test_a_table_changes_only_what_it_names():
    options = BYOLOptions.model_validate({"optimizer": {"lr": 0.5}, "views": {"flip": 0.0}})
    assert options.optimizer.name == "adam"
    assert options.optimizer.weight_decay == 1e-6
    assert options.views.interpolation == "bicubic"
    assert options.views.grayscale == 0.1


@pytest.mark.parametrize(
    ("model", "given", "words"),
    [
        (MoCoOptions, {"optimiser": {}}, "optimiser"),
        (MoCoOptions, {"optimizer": {"rate": 1}}, "rate"),
        (MoCoOptions, {"backbone": {"name": "resnet19"}}, "'resnet19' is not a backbone"),
        (MoCoOptions, {"backbone": {"name": "tiny-resnet", "stem": "cifar"}}, "stem of its own"),
        (MoCoOptions, {"backbone": {"name": "tiny-resnet", "widths": (8,)}}, "1 widths need 1"),
        (
            MoCoOptions,
            {"backbone": {"arguments": {"img_size": 32}}},
            "no built-in backbone takes any, nor does resnet18",
        ),
        (
            MoCoOptions,
            {"backbone": {"name": "timm/vgg11", "arguments": {"num_classes": 3}}},
            "'num_classes' is set by the harness",
        ),
        (
            MoCoOptions,
            {"optimizer": {"betas": (0.8, 0.9)}},
            "read only by adam and adamw, and name is sgd",
        ),
        (BYOLOptions, {"optimizer": {"trust": 0.1}}, "read only by lars, and name is adam"),
        (BYOLOptions, {"optimizer": {"nesterov": True}}, "read only by sgd, and name is adam"),
        (MoCoOptions, {"optimizer": {"nesterov": True, "momentum": 0}}, "requires momentum > 0"),
        (BYOLOptions, {"optimizer": {"betas": (0.9, 1.0)}}, "less than 1"),
        (MoCoOptions, {"views": {"scale": (0.5, 0.2)}}, "not a range"),
        (MoCoOptions, {"views": {"scale": (0.5, 1.2)}}, "at most 1"),
        (MoCoOptions, {"std": (0.2, 0.0, 0.2)}, "must be positive"),
        (MoCoOptions, {"std": (0.2, 1e-50, 0.2)}, "must be positive, at least 1e-06"),
        (BYOLOptions, {"epochs": 160}, "epoch 175 is never reached"),
        (BYOLOptions, {"schedule": {"warmup_epochs": 200}}, "is not less than epochs = 200"),
        (JigsawOptions, {"tile": 80}, "tile + jitter = 100 is more than cell = 85"),
        (JigsawOptions, {"resize": 200}, "less than 3 × cell"),
    ],
)
def test_impossible_values(model: type[Options], given: dict[str, object], words: str):
    with pytest.raises(ValidationError) as caught:
        model.model_validate(given)
    assert words in str(caught.value)


TINY = {"backbone": {"name": "tiny-resnet"}}


@pytest.mark.parametrize(
    ("model", "given", "data", "words"),
    [
        (MoCoOptions, {}, metadata(200), "batch_size = 256 is more than the 200"),
        (MoCoOptions, {"queue": 1000}, metadata(), "not a multiple of batch_size = 256"),
        (MoCoOptions, {"norm_groups": 3}, metadata(), "norm_groups = 3 does not divide"),
        (MoCoOptions, {"devices": 3}, metadata(), "not a multiple of devices = 3"),
        (RotNetOptions, {"devices": 2}, metadata(), "set norm_groups to a multiple of 2"),
        (JigsawOptions, {"norm_groups": 200}, metadata(), "into groups of at least 2"),
        (MoCoOptions, {}, metadata(size=(16, 16)), "at least 32 pixels, not 16"),
        (
            MoCoOptions,
            TINY | {"views": {"size": 8}, "backbone": {"name": "tiny-resnet"} | {"stem_stride": 4}},
            metadata(),
            "at least 16 pixels, not 8",
        ),
        (
            BYOLOptions,
            {"epochs": 200, "batch_size": 512},
            metadata(600),
            "not less than the training's 200 steps: set it to at most 199",
        ),
        (JigsawOptions, {"resize": 0}, metadata(), "resize must be given"),
        (JigsawOptions, {"resize": 0}, metadata(size=(64, 64)), "three do not fit"),
        (JigsawOptions, {"tile": 16}, metadata(), "tiles of at least 32 pixels"),
        (
            DistillOptions,
            {"clean_fraction": 0.001},
            metadata(),
            "more than the 100 training images",
        ),
    ],
)
def test_problems(
    model: type[Options], given: dict[str, object], data: DatasetMetadata, words: str
):
    found = list(model.model_validate(given).problems(data))
    assert len(found) == 1
    assert words in found[0]


@pytest.mark.parametrize(
    ("size", "wanted", "expected"), [(None, None, 224), ((32, 40), None, 32), ((32, 32), 64, 64)]
)
def test_image_side(size: tuple[int, int] | None, wanted: int | None, expected: int):
    assert image_side(size, wanted) == expected


def test_backbone_names():
    for name in ("tiny-resnet", "resnet50", "wide_resnet50_2", "timm/resnet10t.c3_in1k"):
        assert BackboneOptions(name=name).name == name


@pytest.mark.parametrize(
    ("images", "groups", "last_batch", "steps", "trained"),
    [
        (20, 1, "drop", 2, 16),
        (20, 1, "keep", 3, 20),
        (16, 1, "keep", 2, 16),
        (17, 1, "keep", 2, 16),  # one image is too few for batch norm
        (23, 2, "keep", 3, 22),  # what two groups do not share evenly is left out
        (19, 2, "keep", 2, 16),  # two groups need two images each
        (23, 2, "drop", 2, 16),
    ],
)
def test_an_epochs_last_batch(images: int, groups: int, last_batch: str, steps: int, trained: int):
    options = RotNetOptions.model_validate(
        {"batch_size": 8, "norm_groups": groups, "last_batch": last_batch}
    )
    assert options.epoch_images(images) == trained
    assert options.steps_per_epoch(images) == steps


def test_what_changes_no_number_is_not_in_the_key():
    options = MoCoOptions()
    identity = options.identity()
    given = {"devices": 2, "compile": True, "channels_last": False, "checkpoint_minutes": 0.0}
    assert not given.keys() & identity.keys()
    assert MoCoOptions.model_validate(given).identity() == identity
    assert {"norm_groups", "last_batch", "precision"} <= identity.keys()


def test_optimizers_and_arguments_of_later_are_in_the_key_where_they_are_used():
    plain = MoCoOptions().identity()
    assert set(plain["optimizer"]) == {"name", "lr", "momentum", "weight_decay", "decay"}
    assert "arguments" not in plain["backbone"]
    given = {
        "optimizer": {"name": "lars", "trust": 0.02},
        "backbone": {"name": "timm/vit_tiny_patch16_224", "arguments": {"img_size": 32}},
    }
    used = MoCoOptions.model_validate(given).identity()
    assert used["optimizer"]["trust"] == 0.02
    assert used["backbone"]["arguments"] == {"img_size": 32}
