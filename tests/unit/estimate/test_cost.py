"""What a benchmark costs before it runs: image-steps and bytes, against independent counts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.conftest import tiny

from backbench.benchmark.config import Benchmark, load_benchmark
from backbench.benchmark.planning import make_plan
from backbench.estimate.cost import Costs, amount, costs_of, in_bytes
from backbench.estimate.sizes import backbone_size
from backbench.model import Plan, StageKind
from backbench.nn.backbones import build_backbone
from backbench.options.training import BackboneOptions
from backbench.plugin.registry import Registry, load_registry


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry()


def costed(path: Path, registry: Registry, text: str) -> tuple[Plan, Costs]:
    path.write_text(text, encoding="utf-8")
    benchmark: Benchmark = load_benchmark(path, registry)
    plan = make_plan(benchmark, {"drawn": "content"})
    return plan, costs_of(plan, benchmark, registry)


@pytest.mark.parametrize(
    "options",
    [
        {"name": "resnet18"},
        {"name": "resnet18", "stem": "cifar"},
        {"name": "resnet34"},
        {"name": "resnet50"},
        {"name": "resnet101"},
        {"name": "wide_resnet50_2"},
        {"name": "resnext101_64x4d"},
        {"name": "tiny-resnet"},
        {"name": "tiny-resnet", "widths": (16, 32), "strides": (1, 2), "stem_kernel": 7},
    ],
    ids=str,
)
def test_backbones_are_as_large_as_they_are_told_to_be(options: dict[str, object]) -> None:
    given = BackboneOptions.model_validate(options)
    with torch.device("meta"):
        network = build_backbone(given)
    size = backbone_size(given)
    assert size is not None
    assert size.weights == sum(one.nbytes for one in network.state_dict().values())
    assert size.features == network.feature_dim


def test_the_size_of_a_timm_model_is_not_known() -> None:
    assert backbone_size(BackboneOptions(name="timm/vit_tiny_patch16_224")) is None


def test_image_steps(tmp_path: Path, registry: Registry) -> None:
    _, costs = costed(tmp_path / "b.toml", registry, tiny())
    images = 4 * 24  # classes × images
    expected = {
        "moco-v2": 2 * 2 * (images // 32 * 32) * 2,  # trainings × epochs × images × passes
        "rotnet": 2 * 2 * (images // 32 * 32) * 4,
        "distill": 4 * 2 * (images // 2 // 16 * 16) * 3,
    }
    assert costs.as_json(set())["image_steps"] == expected


def test_the_last_batch_counts_where_it_is_kept(tmp_path: Path, registry: Registry) -> None:
    text = tiny().replace("batch_size = 32", "batch_size = 36")  # 96 = 2 × 36 + 24
    text = text.replace("queue = 64", "queue = 72")
    _, dropped = costed(tmp_path / "b.toml", registry, text)
    kept_text = text.replace("batch_size = 36", 'batch_size = 36\nlast_batch = "keep"')
    _, kept = costed(tmp_path / "b.toml", registry, kept_text)
    steps = [one.as_json(set())["image_steps"]["rotnet"] for one in (dropped, kept)]
    assert steps == [2 * 2 * 72 * 4, 2 * 2 * 96 * 4]


def test_what_is_done_costs_nothing(tmp_path: Path, registry: Registry) -> None:
    plan, costs = costed(tmp_path / "b.toml", registry, tiny())
    assert costs.as_json(set(plan.stages)) == {
        "image_steps": {},
        "forward": 0,
        "bytes": {},
        "notes": (),
    }
    pretrained = {key for key, one in plan.stages.items() if one.kind == StageKind.PRETRAIN}
    assert set(costs.as_json(pretrained)["image_steps"]) == {"distill"}


def test_bytes_are_those_of_the_shapes(tmp_path: Path, registry: Registry) -> None:
    plan, costs = costed(tmp_path / "b.toml", registry, tiny())
    train, val, classes, features = 96, 32, 4, 64
    found = costs.bytes_by_form(set())
    encoders = sum(
        stage.kind in {StageKind.PRETRAIN, StageKind.REPAIR} for stage in plan.stages.values()
    )
    size = backbone_size(BackboneOptions(name="tiny-resnet", widths=(32, 64), strides=(2, 2)))
    assert size is not None
    assert found["encoders"] == encoders * size.weights
    clean, triggered = 8, 8
    assert found["features"] == (clean * (train + val) + triggered * val) * (4 * features + 8)
    images = (train + val) * 32 * 32 * 3
    assert images < found["decoded images"] < 1.1 * images
    one_slice = val * (8 + 2 * classes + 4)
    two_slices = val * (8 + 2 * (2 * classes + 4))
    assert found["predictions at most"] == 8 * one_slice + 16 * two_slices


def test_evaluators_that_see_images_are_said_not_to_be_counted(
    tmp_path: Path, registry: Registry
) -> None:
    note = "how often layer-probe looks at images, and how large its heads are, is not known"
    _, costs = costed(tmp_path / "b.toml", registry, tiny())
    assert note not in costs.notes
    text = tiny().replace('"linear", "knn"', '"linear", "layer-probe"')
    _, costs = costed(tmp_path / "b.toml", registry, text)
    assert costs.notes.count(note) == 1


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (950, "950"),
        (24_000, "24.0 thousand"),
        (25_337_800, "25.3 million"),
        (5_067_200_000, "5.07 billion"),
        (632_000_000, "632 million"),
    ],
)
def test_amounts(number: float, text: str) -> None:
    assert amount(number) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (12, "12 B"),
        (1_500, "1.50 kB"),
        (44_744_608, "44.7 MB"),
        (37e9, "37.0 GB"),
        (2e12, "2.00 TB"),
    ],
)
def test_bytes(number: float, text: str) -> None:
    assert in_bytes(number) == text
