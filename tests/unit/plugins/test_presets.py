"""Presets: every one is valid, and the published values stand here a second time on purpose.

A number of a paper that is changed by mistake in the package then fails a test.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

import backbench_attacks
import backbench_defenses
import backbench_evaluators
import backbench_ssl
from backbench.plugin import DatasetMetadata, PluginInfo

METHODS = {info.name: info for info in backbench_ssl.register_ssl_methods()}
DEFENSES = {info.name: info for info in backbench_defenses.register_defenses()}
SEARCH = DEFENSES["patch-search"]
TRAINED = [*METHODS.values(), DEFENSES["distill"]]
INFOS: list[PluginInfo] = [
    *METHODS.values(),
    *DEFENSES.values(),
    *backbench_attacks.register_attacks(),
    *backbench_evaluators.register_evaluators(),
]


def with_preset(preset: str) -> list[PluginInfo]:
    return [info for info in TRAINED if preset in info.presets]


#: ImageNet-100, CIFAR-10, a part of it, and the embedded world.
METADATA = {
    "saha2022": DatasetMetadata(
        tuple(f"n{i:08}" for i in range(100)), 126_689, 5_000, None, (1300,) * 99 + (-2011,)
    ),
    "cifar10": DatasetMetadata(tuple("abcdefghij"), 50_000, 10_000, (32, 32), (5000,) * 10),
    "cifar10-small": DatasetMetadata(tuple("abcdefghij"), 10_000, 5_000, (32, 32), (1000,) * 10),
    "small": DatasetMetadata(tuple("abcdefghij"), 3000, 1000, (32, 32), (300,) * 10),
}

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
JITTER = {
    "jitter": 0.8, "brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1,
    "blur": 0.5, "blur_sigma": (0.1, 2.0), "flip": 0.5, "color": "exact",
}  # fmt: skip
CROP = {"size": 224, "ratio": (3 / 4, 4 / 3)}

PUBLISHED: dict[str, dict[str, Any]] = {
    "moco-v2": {
        **IMAGENET,
        "epochs": 200, "batch_size": 256, "last_batch": "drop", "norm_groups": 2,
        "dim": 128, "hidden": 512, "queue": 65536, "momentum": 0.999, "temperature": 0.2,
        "contrast_weight": 1, "align_weight": 0, "align_alpha": 2, "uniform_weight": 0,
        "uniform_t": 3, "uniform_intra_batch": True,
        "optimizer": {
            "name": "sgd", "lr": 0.06, "momentum": 0.9, "weight_decay": 1e-4, "decay": "all",
        },
        "schedule": {"name": "cosine", "per": "epoch", "warmup_steps": 0, "warmup_epochs": 0},
        "views": CROP | JITTER | {"scale": (0.2, 1), "interpolation": "bilinear", "grayscale": 0.2},
    },
    "byol": {
        **IMAGENET,
        "epochs": 200, "batch_size": 512, "last_batch": "drop", "norm_groups": 4,
        "dim": 128, "hidden": 1024, "momentum": 0.99,
        "optimizer": {"name": "adam", "lr": 2e-3, "weight_decay": 1e-6, "decay": "all"},
        "schedule": {
            "name": "step", "milestones": (150, 175), "gamma": 0.2, "warmup_steps": 500,
            "warmup_epochs": 0,
        },
        "views": CROP | JITTER | {"scale": (0.2, 1), "interpolation": "bicubic", "grayscale": 0.1},
    },
    "jigsaw": {
        **IMAGENET,
        "epochs": 105, "batch_size": 256, "last_batch": "keep", "norm_groups": 1,
        "resize": 256, "cell": 85, "tile": 64, "jitter": 20, "permutations": 2000,
        "grayscale": 0.5, "projection": 0.5,
        "optimizer": {
            "name": "sgd", "lr": 0.01, "momentum": 0.9, "weight_decay": 1e-4,
            "decay": "not-bn-or-bias",
        },
        "schedule": {
            "name": "step", "milestones": (30, 60, 90, 100), "gamma": 0.1, "warmup_steps": 0,
            "warmup_epochs": 0,
        },
    },
    "rotnet": {
        **IMAGENET,
        "epochs": 105, "batch_size": 128, "last_batch": "keep", "norm_groups": 1,
        "optimizer": {
            "name": "sgd", "lr": 0.05, "momentum": 0.9, "weight_decay": 1e-4, "decay": "all",
        },
        "schedule": {
            "name": "step", "milestones": (30, 60, 90), "gamma": 0.1, "warmup_steps": 0,
            "warmup_epochs": 0,
        },
        "views": CROP | {
            "scale": (0.08, 1), "interpolation": "bilinear", "flip": 0.5, "jitter": 0, "grayscale": 0,
            "blur": 0,
        },
    },
    "distill": {
        "clean_fraction": 0.25, "epochs": 130, "batch_size": 256, "last_batch": "keep",
        "queue": 128_000, "momentum": 0.999, "temperature": 0.04,
        "optimizer": {
            "name": "sgd", "lr": 0.01, "momentum": 0.9, "weight_decay": 1e-4, "decay": "all",
        },
        "schedule": {
            "name": "step", "milestones": (90, 120), "gamma": 0.2, "warmup_steps": 0,
            "warmup_epochs": 0,
        },
        "views": {
            "scale": (0.08, 1), "ratio": (3 / 4, 4 / 3), "interpolation": "bilinear",
            "flip": 0.5, "jitter": 0, "grayscale": 0, "blur": 0,
        },
    },
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_values(name: str):
    info = {info.name: info for info in TRAINED}[name]
    given = info.presets["saha2022"]
    options = info.options.model_validate(given).model_dump()
    for key, expected in PUBLISHED[name].items():
        if isinstance(expected, dict):
            for part, value in expected.items():
                assert options[key][part] == value, (key, part)
                if not (key == "views" and part == "size"):
                    assert part in given[key], f"{key}.{part} is not said in the file"
        else:
            assert options[key] == expected, key
            assert key in given, f"{key} is not said in the file"
    if name != "distill":
        assert options["backbone"]["name"] == "resnet18"
        assert options["backbone"]["stem"] == "imagenet"


@pytest.mark.parametrize("info", with_preset("saha2022"), ids=lambda info: info.name)
def test_defaults_are_the_published_values(info: PluginInfo):
    default = info.options().model_dump()
    published = info.options.model_validate(info.presets["saha2022"]).model_dump()
    if info.name == "moco-v2":
        default["hidden"] = 512  # the width of ResNet-18
    if "views" in default:
        default["views"]["size"] = published["views"]["size"]
    assert default == published


@pytest.mark.parametrize("info", INFOS, ids=lambda info: info.name)
def test_every_preset_is_valid(info: PluginInfo):
    wants_target = info.kind == "attack" and "target" in info.options.model_fields
    needed = {"target": "heron"} if wants_target else {}
    for name, values in info.presets.items():
        options = info.options.model_validate(needed | values)
        assert info.options.model_validate(options.model_dump()) == options, name


@pytest.mark.parametrize(
    ("preset", "info"),
    [(preset, info) for preset in METADATA for info in with_preset(preset)],
    ids=lambda one: getattr(one, "name", one),
)
def test_presets_suit_their_data(info: PluginInfo, preset: str):
    options = info.options.model_validate(info.presets[preset])
    assert list(options.problems(METADATA[preset])) == []
    if preset == "cifar10" and info in METHODS.values():
        assert (options.backbone.name, options.backbone.stem) == ("resnet18", "cifar")
        assert options.epochs == 200


def test_the_patch_search_as_released():
    given = SEARCH.presets["saha2022"]
    assert SEARCH.options.model_validate(given) == SEARCH.options()
    assert given.keys() == SEARCH.options.model_fields.keys()
    assert (given["clusters"], given["iterations"], given["test_images"]) == (1000, 20, 1000)
    assert (given["per_cluster"], given["prune"], given["window"]) == (2, 0.25, 60)
    assert (given["top"], given["classifiers"], given["leave_out"]) == (20, 5, 0.1)
    assert (given["steps"], given["batch_size"], given["lr"]) == (2000, 32, 0.01)
    assert given["patch_sizes"] == [20, 80]
    for preset, values in SEARCH.presets.items():
        options = SEARCH.options.model_validate(values)
        assert list(options.problems(METADATA[preset])) == []


@pytest.mark.parametrize(
    "info", [*METHODS.values(), *DEFENSES.values()], ids=lambda info: info.name
)
def test_every_file_says_where_its_numbers_come_from(info: PluginInfo):
    package = resources.files(info.target.partition(".")[0])
    for preset in info.presets:
        text = package.joinpath("presets", preset, f"{info.name}.toml").read_text("utf-8")
        assert text.startswith("# Source: "), preset


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


@pytest.mark.parametrize("preset", METADATA)
def test_the_page_has_every_value(preset: str):
    """The tables of docs/reference/presets.md are the files."""
    page = Path(__file__).parents[3] / "docs" / "reference" / "presets.md"
    section = page.read_text("utf-8").split(f"\n## {preset}\n")[1].split("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line[:1] == "|"]
    names = rows[0][1:]
    assert names == [info.name for info in with_preset(preset)]
    found: dict[str, dict[str, Any]] = {name: {} for name in names}
    for key, *cells in rows[1:]:
        if key.startswith("`"):
            for name, cell in zip(names, cells, strict=True):
                if cell != "–":
                    found[name][key.strip("`")] = tomllib.loads(f"value = {cell}")["value"]
    assert found == {info.name: dict(flat(info.presets[preset])) for info in with_preset(preset)}
