"""Attacks that compose, add and choose by features, from the benchmark file to `verify`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from backbench.benchmark.config import load_benchmark
from backbench.benchmark.planning import plan_of
from backbench.data.attacker_images import AttackerImages
from backbench.data.packed import HEADER_BYTES
from backbench.errors import ConfigError, DataError
from backbench.estimate.cost import costs_of
from backbench.model import Plan, StageKind
from backbench.plugin.registry import load_registry
from backbench.poison.manifest import read_manifest
from backbench.stages.inputs import Inputs
from backbench.stages.run import run_stage
from backbench.stages.task import Task
from backbench.store.metadata import EncoderRecord, PoisonRecord
from backbench.store.store import Store
from backbench.verification.poisons import differences
from backbench.verification.store_check import verify_store

FILE = """
[benchmark]
name = "composed"
seeds = [0]

[datasets.tiny]
plugin = "embedded"
classes = 3
size = 16
train_per_class = 12
val_per_class = 4

[datasets.others]
plugin = "embedded"
classes = 2
size = 16
train_per_class = 5
val_per_class = 2

[attacks.corrupt]
plugin = "corrupt-encoder"
target = "TARGET"
rate = { of = "count", value = 4 }
width = 4
references = 2
reference_images = "masks"
backgrounds = "BACKGROUNDS"

[attacks.no-label]
rate = { of = "count", value = 5 }
width = 4

[methods.byol]
epochs = 1
batch_size = 8
dim = 4
hidden = 8
norm_groups = 1
backbone = { name = "tiny-resnet", widths = [4, 8], strides = [1, 2], stem_width = 4 }
schedule = { name = "constant", milestones = [], warmup_steps = 0, warmup_epochs = 0 }

[evaluators.knn]
k = 1

[[matrix]]
datasets = "tiny"
attacks = ["corrupt", "no-label"]
methods = "byol"
evaluators = "knn"
"""


class World:
    """A folder of masks, a benchmark file and a store."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.registry = folder, load_registry()
        self.store = Store(folder / "store")
        self.store.prepare()
        (folder / "masks").mkdir()
        for number in range(3):
            pixels = np.full((12, 14, 4), 60 * (number + 1), np.uint8)
            pixels[..., 3] = 0
            pixels[2:10, 3:11, 3] = 255
            Image.fromarray(pixels).save(folder / "masks" / f"{number}.png")

    def plan(self, backgrounds: str = "others") -> Plan:
        file = self.folder / "b.toml"
        dataset = self.registry.find("dataset", "embedded")
        options = dataset.info.options.model_validate({"classes": 3, "size": 16})
        target = dataset.implementation()(options).metadata().classes[1]
        text = FILE.replace("BACKGROUNDS", backgrounds).replace("TARGET", target)
        file.write_text(text, encoding="utf-8")
        self.benchmark = load_benchmark(file, self.registry)
        return plan_of(self.benchmark, self.store, keep_hashes=False)

    def poison(self, plan: Plan, attack: str) -> Any:
        stages = [one for one in plan.stages.values() if one.kind is StageKind.POISON]
        return next(one for one in stages if one.plugin and one.plugin.name == attack)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    made = World(tmp_path_factory.mktemp("composed"))
    for stage in made.plan().stages.values():
        run_stage(stage, made.store, made.registry, "cpu", lambda *_: None)
    return made


def test_what_an_attack_reads_is_an_input_of_its_poison(world: World) -> None:
    plan = world.plan()
    inputs = world.poison(plan, "corrupt-encoder").inputs
    assert list(inputs) == ["dataset", "set:backgrounds"]
    assert plan.stages[inputs["set:backgrounds"]].label == "dataset others"
    inputs = world.poison(plan, "no-label").inputs
    assert list(inputs) == ["dataset", "encoder"]
    assert plan.stages[inputs["encoder"]].label == "pretrain byol · none · seed 0"
    trained = [one for one in plan.stages.values() if one.kind is StageKind.PRETRAIN]
    assert len(trained) == 3


def test_the_name_of_a_dataset_is_not_in_the_key(world: World) -> None:
    stage = world.poison(world.plan(), "corrupt-encoder")
    assert "backgrounds" not in stage.plugin.identity
    assert world.poison(world.plan("tiny"), "corrupt-encoder").key != stage.key
    assert world.poison(world.plan(), "corrupt-encoder").key == stage.key


def test_a_dataset_that_is_not_there_is_a_problem_of_the_option(world: World) -> None:
    with pytest.raises(ConfigError) as caught:
        world.plan("other")
    (problem,) = caught.value.problems
    assert problem.path == "attacks.corrupt.backgrounds"
    assert problem.message == "no dataset is called 'other': did you mean 'others'?"


def test_costs_know_a_dataset_that_only_an_attack_uses(world: World) -> None:
    plan = world.plan()
    empty = Store(world.folder / "empty")
    empty.prepare()
    costs = costs_of(plan, world.benchmark, world.registry, empty)
    sizes = {plan.stages[key].label: size for key, size in costs.decoded.items()}
    assert sizes["dataset others"] < sizes["dataset tiny"]


def test_records_state_the_threat_model_and_count_added_poisons(world: World) -> None:
    plan = world.plan()
    stage = world.poison(plan, "corrupt-encoder")
    record = world.store.record(stage.key)
    assert record is not None
    made = record.of(PoisonRecord)
    assert (made.poisons, made.added, made.rate_of_dataset) == (4, 4, 0.1)
    sets = {"reference_images": 3, "backgrounds": 10}
    assert made.threat == {"labels": ["train"], "sets": sets, "features": False}
    marks = list(read_manifest(world.store.artifact(stage.key) / "train.jsonl"))
    assert [mark.index for mark in marks] == [36, 37, 38, 39]
    assert {part.set for mark in marks for part in mark.parts} == set(sets)
    assert {mark.size for mark in marks} == {(8, 16)}
    trained = next(
        one
        for one in plan.stages.values()
        if one.kind is StageKind.PRETRAIN and one.inputs.get("poison") == stage.key
    )
    record = world.store.record(trained.key)
    assert record is not None
    assert record.of(EncoderRecord).images == 40
    task = Task(trained, world.store, Path(), world.registry, "cpu", lambda *_: None)
    images = Inputs(task).poisoned_train
    assert images.image(39).shape == (8, 16, 3)
    assert images.labels[36:].tolist() == [-1] * 4


def test_the_class_of_most_poisons_is_the_target_of_an_attack_without_labels(world: World) -> None:
    stage = world.poison(world.plan(), "no-label")
    record = world.store.record(stage.key)
    assert record is not None
    made = record.of(PoisonRecord)
    marks = list(read_manifest(world.store.artifact(stage.key) / "train.jsonl"))
    assert made.target == np.bincount([mark.label for mark in marks]).argmax()
    assert made.threat == {"labels": [], "sets": {}, "features": True}
    assert "parts" not in json.loads(marks[0].line())


def test_verify_makes_every_poison_again_and_names_the_changed_image(world: World) -> None:
    result = verify_store(world.store, world.registry)
    assert (result.differs, result.unchecked) == ([], [])
    stage = world.poison(world.plan(), "corrupt-encoder")
    record = world.store.record(stage.key)
    assert record is not None
    path = world.store.artifact(stage.key) / "images.safetensors"
    content = bytearray(path.read_bytes())
    content[HEADER_BYTES + 8 * 16 * 3] ^= 1  # the first level of the second poison
    path.write_bytes(content)
    task = Task(stage, world.store, path.parent, world.registry, "cpu", lambda *_: None)
    (found,) = differences(task, record)
    sentence = "poisoned image 37: 1 pixels are not what the seed gives, the first at x = 0, y = 0"
    assert found == sentence


def test_a_folder_without_images_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no image is in this folder"):
        AttackerImages(tmp_path)
