"""What a benchmark costs before it runs: image-steps and bytes, against independent counts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.conftest import tiny
from tests.factories import record

from backbench.benchmark.config import Benchmark, load_benchmark
from backbench.benchmark.planning import make_plan
from backbench.estimate.cost import Costs, costs_of
from backbench.model import Plan, StageKind
from backbench.plugin.registry import Registry, load_registry
from backbench.report.plan import cost_lines
from backbench.store import provenance
from backbench.store.store import Store


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry()


def costed(path: Path, registry: Registry, text: str = tiny()) -> tuple[Plan, Costs]:
    path.write_text(text, encoding="utf-8")
    benchmark: Benchmark = load_benchmark(path, registry)
    plan = make_plan(benchmark, {"drawn": "content"})
    return plan, costs_of(plan, benchmark, registry, Store(path.with_name("store")))


def finish(
    path: Path, key: str, size: int, wall_s: float = 1.0, *, resumed: int = 0, **made: object
) -> None:
    """Put a record into the store beside a benchmark file."""
    store = Store(path.with_name("store"))
    store.prepare()
    made = {"device": "cpu", "processor": provenance.processor(), **made}
    sizes = {"a": size - 1, "b": 1}
    files = {name: {"bytes": count, "sha256": "0" * 64} for name, count in sizes.items()}
    finished = record(
        key, StageKind.PRETRAIN, resumed=resumed, files=files, provenance=made, wall_s=wall_s
    )
    with store.writing(key) as folder:
        for name, count in sizes.items():
            (folder / name).write_bytes(bytes(count))
        store.publish(folder, finished)


def of_kind(plan: Plan, kind: StageKind, name: str = "") -> list[str]:
    return [
        key
        for key, one in plan.stages.items()
        if one.kind == kind and (not name or (one.plugin and one.plugin.name == name))
    ]


def test_image_steps(tmp_path: Path, registry: Registry) -> None:
    _, costs = costed(tmp_path / "b.toml", registry)
    images = 4 * 24  # classes × images
    expected = {
        "moco-v2": 2 * 2 * (images // 32 * 32) * 2,  # trainings × epochs × images × passes
        "rotnet": 2 * 2 * (images // 32 * 32) * 4,
        "distill": 4 * 2 * (images // 2 // 16 * 16) * 3,
    }
    assert costs.as_json()["image_steps"] == expected


def test_the_last_batch_counts_where_it_is_kept(tmp_path: Path, registry: Registry) -> None:
    text = tiny().replace("batch_size = 32", "batch_size = 36")  # 96 = 2 × 36 + 24
    text = text.replace("queue = 64", "queue = 72")
    _, dropped = costed(tmp_path / "b.toml", registry, text)
    kept_text = text.replace("batch_size = 36", 'batch_size = 36\nlast_batch = "keep"')
    _, kept = costed(tmp_path / "b.toml", registry, kept_text)
    steps = [one.as_json()["image_steps"]["rotnet"] for one in (dropped, kept)]
    assert steps == [2 * 2 * 72 * 4, 2 * 2 * 96 * 4]


def test_poisons_that_are_added_are_trained_on(tmp_path: Path, registry: Registry) -> None:
    text = tiny()
    start = text.index("[attacks.targeted]")
    attack = """[attacks.targeted]
plugin = "corrupt-encoder"
target = "TARGET"
rate = { of = "count", value = 24 }
width = 4

"""
    target = text[start:].partition('target = "')[2].partition('"')[0]
    text = text[:start] + attack.replace("TARGET", target) + text[text.index("[methods") :]
    _, costs = costed(tmp_path / "b.toml", registry, text)
    images = {one.images for one in costs.trainings.values() if one.name == "rotnet"}
    assert images == {96, 120}
    poisoned = next(one for one in costs.trainings.values() if one.images == 120)
    assert poisoned.images_shown == 2 * (120 // 32 * 32)


def test_what_is_done_costs_nothing(tmp_path: Path, registry: Registry) -> None:
    path = tmp_path / "b.toml"
    plan, _ = costed(path, registry)
    for key in of_kind(plan, StageKind.PRETRAIN):
        finish(path, key, 1000)
    _, costs = costed(path, registry)
    assert set(costs.as_json()["image_steps"]) == {"distill"}
    assert "pretrain" not in costs.bytes_by_kind()
    for key in plan.stages.keys() - set(of_kind(plan, StageKind.PRETRAIN)):
        finish(path, key, 1000)
    _, costs = costed(path, registry)
    assert costs.as_json() == {"image_steps": {}, "bytes": {}, "unknown": {}, "notes": ()}


def test_bytes_are_those_of_records(tmp_path: Path, registry: Registry) -> None:
    path = tmp_path / "b.toml"
    plan, costs = costed(path, registry)
    images = (96 + 32) * 32 * 32 * 3
    sizes = costs.bytes_by_kind()
    assert images < (sizes.pop("dataset") or 0) < 1.1 * images
    assert set(sizes.values()) == {None}
    moco, rotnet = (of_kind(plan, StageKind.PRETRAIN, name) for name in ("moco-v2", "rotnet"))
    finish(path, moco[0], 700)
    _, costs = costed(path, registry)
    assert costs.bytes_by_kind()["pretrain"] is None  # nothing is known of rotnet yet
    finish(path, rotnet[0], 50)
    _, costs = costed(path, registry)
    assert costs.bytes_by_kind()["pretrain"] == 750
    assert "pretrain 750 bytes; known once the store has some: " in "\n".join(cost_lines(costs))


def test_seconds_are_those_of_whole_records_of_this_machine(
    tmp_path: Path, registry: Registry
) -> None:
    path = tmp_path / "b.toml"
    plan, _ = costed(path, registry)
    moco = of_kind(plan, StageKind.PRETRAIN, "moco-v2")
    rotnet = of_kind(plan, StageKind.PRETRAIN, "rotnet")
    repaired = of_kind(plan, StageKind.REPAIR)
    (data,) = of_kind(plan, StageKind.DATASET)
    finish(path, moco[0], 1, wall_s=4.0)
    finish(path, rotnet[0], 1, wall_s=4.0, processor="another machine's")
    finish(path, repaired[0], 1, wall_s=0.1, resumed=1)  # the seconds of its last epoch alone
    finish(path, data, 1, wall_s=9.0, device="cuda:0")
    _, costs = costed(path, registry)

    def seconds(key: str) -> list[float]:
        return costs.seen[costs.sorts[key]].seconds("cpu")

    assert seconds(moco[1]) == [4.0 / (2 * 96)]
    assert seconds(rotnet[1]) == seconds(repaired[1]) == seconds(data) == []
    assert costs.seen[costs.sorts[data]].seconds("cuda") == [9.0]


def test_trainings_that_differ_in_length_alone_are_of_one_sort(
    tmp_path: Path, registry: Registry
) -> None:
    _, costs = costed(tmp_path / "b.toml", registry)
    one = costs.by_method()["distill"][0]
    longer = replace(one, options=one.options.model_copy(update={"epochs": 9}))
    fewer = replace(one, options=one.options.model_copy(update={"clean_fraction": 0.1}))
    wider = replace(one, options=one.options.model_copy(update={"queue": 32}))
    assert one.sort == longer.sort == fewer.sort != wider.sort


INSPECTED = """
[defenses.decree]
clean_fraction = 0.25
"""


def test_inspections_and_detectors_are_of_unknown_cost_until_there_is_a_record(
    tmp_path: Path, registry: Registry
) -> None:
    text = tiny().replace('["none", "distill"]', '["none", "decree+dede", "backdoor-ids"]')
    _, costs = costed(tmp_path / "b.toml", registry, text + INSPECTED)
    unknown = costs.unknown()
    assert unknown["inspect decree"] == 4  # of two methods, attacked and clean
    assert unknown["detect backdoor-ids"] == 6  # and the clean encoder without a trigger
    line = "of unknown cost until the store has such a record: "
    assert any(one.startswith(line) and "inspect decree (4)" in one for one in cost_lines(costs))
    assert costs.as_json()["unknown"] == unknown
    assert not any("pretrain" in name or "predict" in name for name in unknown)
