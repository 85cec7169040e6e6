"""The decoded images of a dataset of photographs, from its stage to training."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.factories import make_pets, pets

from backbench.benchmark.config import load_benchmark
from backbench.benchmark.planning import plan_of
from backbench.data import cache
from backbench.data.decode import decode
from backbench.data.packed import MappedImages
from backbench.data.preprocess import ShortSide, fitted_pixels
from backbench.errors import ConfigError, DataError
from backbench.estimate.cost import costs_of
from backbench.execution.session import without_decoded
from backbench.images import ArrayImages, ImageSet, Overlay, Pixels
from backbench.model import Plan, StageKind
from backbench.plugin import DatasetMetadata
from backbench.plugin.registry import load_registry
from backbench.poison.manifest import read_manifest
from backbench.poison.poisoning import stamp
from backbench.stages import dataset as stage_module
from backbench.stages import poison as poison_stage
from backbench.stages.inputs import Inputs, poisoned_images
from backbench.stages.run import run_stage
from backbench.stages.task import Outcome, Task
from backbench.store.store import Store
from backbench.training.devices import Device
from backbench.verification.store_check import verify_store

TRAIN = 12


class Images(ImageSet):
    """The files' own images, with the labels and names of another set."""

    def __init__(self, images: list[Pixels], named: ImageSet) -> None:
        super().__init__(named.labels, named.sources)
        self._images = images

    def image(self, index: int) -> Pixels:
        return self._images[index]


class World:
    """A folder of photographs, benchmark files about it, and a store."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.registry = load_registry()
        self.store = Store(folder / "store")
        self.store.prepare()
        make_pets(folder)

    def plan(self, option: str = "") -> Plan:
        file = self.folder / "b.toml"
        file.write_text(pets(option), encoding="utf-8")
        return plan_of(load_benchmark(file, self.registry), self.store, keep_hashes=False)

    def run(self, plan: Plan, *kinds: StageKind) -> None:
        for stage in plan.stages.values():
            if stage.kind in kinds:
                run_stage(stage, self.store, self.registry, "cpu", lambda *_: None)

    def image(self, index: int) -> Pixels:
        """Return a training image's file."""
        name, number = ("cat", "dog")[index // (TRAIN // 2)], index % (TRAIN // 2)
        return np.array(Image.open(self.folder / "pets" / "train" / name / f"{number}.png"))

    def task(self, plan: Plan, kind: StageKind) -> Task:
        stages = (one for one in plan.stages.values() if one.kind == kind)
        stage = next(one for one in stages if kind != StageKind.PRETRAIN or "poison" in one.inputs)
        folder = self.store.artifact(stage.key)
        return Task(stage, self.store, folder, self.registry, "cpu", lambda *_: None)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    seen: list[str] = []

    def watched(path: str, fit: Any = None) -> Any:
        seen.append(path)
        return decode(path, fit)

    monkeypatch.setattr(cache, "decode", watched)
    return seen


BOTH = (StageKind.DATASET, StageKind.POISON)


def test_training_reads_no_file_again(world: World) -> None:
    plan = world.plan()
    world.run(plan, *BOTH)
    task = world.task(plan, StageKind.PRETRAIN)
    expected = [world.image(index) for index in range(TRAIN)]
    (world.folder / "pets").rename(world.folder / "gone")
    clean, train = Inputs(task).train, Inputs(task).poisoned_train
    assert isinstance(clean, MappedImages)
    marks = {mark.index: mark for mark in read_manifest(task.input("poison") / "train.jsonl")}
    for index in range(TRAIN):
        np.testing.assert_array_equal(clean.image(index), expected[index])
        changed = (train.image(index) != expected[index]).any(axis=2)
        inside = np.zeros_like(changed)
        if index in marks:
            x, y, width, height = marks[index].box
            inside[y : y + height, x : x + width] = True
            assert changed.any()
        assert not (changed & ~inside).any()
    assert len(marks) == 3


def test_a_trigger_is_put_on_the_file_and_made_smaller_with_it(world: World) -> None:
    plan = world.plan("cache = 20")
    world.run(plan, *BOTH)
    task, fit = world.task(plan, StageKind.PRETRAIN), ShortSide(20)
    inputs = Inputs(task)
    files = [world.image(index) for index in range(TRAIN)]
    originals = Images(files, inputs.train)
    train, poisoned = inputs.poisoned_train, poisoned_images(task.input("poison"))
    for index in range(TRAIN):
        expected = files[index]
        if index in poisoned:
            expected = stamp(inputs.attack, originals, index, "train", 0)[0]
        np.testing.assert_array_equal(train.image(index), fitted_pixels(expected, fit))
        assert min(train.image(index).shape[:2]) == 20
    result = verify_store(world.store, world.registry)
    assert (result.checked, result.differs, result.unchecked) == (2, [], [])


@pytest.mark.parametrize("option", ["", "cache = 20", "resize = 24"])
def test_images_stamped_when_asked_for_are_those_of_the_stage(world: World, option: str) -> None:
    plan = world.plan(option)
    world.run(plan, *BOTH)
    task = world.task(plan, StageKind.POISON)
    implementation, options, _ = task.plugin()
    inputs = Inputs(task)
    poison = inputs.poison(implementation(options, inputs.metadata))
    stored, lazy = poisoned_images(task.folder), Overlay(inputs.train, poison)
    assert list(poison) == sorted(stored)
    trained = Inputs(world.task(plan, StageKind.PRETRAIN)).poisoned_train
    for index in range(TRAIN):
        np.testing.assert_array_equal(lazy.image(index), trained.image(index))
    with pytest.raises(KeyError):
        poison[next(index for index in range(TRAIN) if index not in stored)]


def test_only_a_number_of_pixels_is_in_the_key(world: World) -> None:
    keys = [set(world.plan(one).stages) for one in ("", *(f"cache = {v}" for v in VALUES))]
    assert keys[0] == keys[1] == keys[2] == keys[3]
    assert not keys[0] & keys[4]
    assert not keys[4] & keys[5]


VALUES = ('"auto"', '"full"', '"off"', "20", "24")


def test_images_that_are_asked_for_later_are_decoded_then(world: World, decoded: list[str]) -> None:
    off, full = world.plan('cache = "off"'), world.plan('cache = "full"')
    world.run(off, *BOTH)
    task = world.task(off, StageKind.PRETRAIN)
    assert not isinstance(Inputs(task).train, MappedImages)
    before = [np.array(Inputs(task).poisoned_train.image(index)) for index in range(TRAIN)]
    assert not decoded
    assert without_decoded(off, world.store) == []
    (key,) = without_decoded(full, world.store)
    assert full.stages[key].kind == StageKind.DATASET
    world.store.forget(key)
    world.run(full, StageKind.DATASET)
    assert len(decoded) == TRAIN
    assert isinstance(Inputs(task).train, MappedImages)
    for index in range(TRAIN):
        np.testing.assert_array_equal(Inputs(task).poisoned_train.image(index), before[index])
    assert without_decoded(full, world.store) == without_decoded(off, world.store) == []


def test_a_stage_that_was_interrupted_goes_on(
    world: World, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = world.plan()
    watched = cache.decode

    def stopped(path: str, fit: Any = None) -> Any:
        if len(decoded) == 5:
            raise KeyboardInterrupt
        return watched(path, fit)

    monkeypatch.setattr(cache, "decode", stopped)
    with pytest.raises(KeyboardInterrupt):
        world.run(plan, StageKind.DATASET)
    assert world.store.done() == set()
    monkeypatch.setattr(cache, "decode", watched)
    with world.store.running():  # clears what other runs have left half-written
        world.run(plan, StageKind.DATASET)
    assert len(decoded) == len(set(decoded)) == TRAIN
    assert verify_store(world.store, world.registry).differs == []
    with world.store.running():
        assert list((world.store.root / "building").iterdir()) == []


def test_cores_of_other_workers_are_lent(world: World) -> None:
    plan = world.plan()
    task = replace(
        world.task(plan, StageKind.DATASET), others=(Device("cpu", (900, 901)), Device("cpu"))
    )
    assert stage_module.all_cores(task) == (*sorted(os.sched_getaffinity(0)), 900, 901)


def test_a_image_that_changes_while_it_is_read(world: World) -> None:
    plan = world.plan()
    victim = world.folder / "pets" / "train" / "dog" / "0.png"
    Image.new("RGB", (32, 30)).save(victim)
    with pytest.raises(DataError, match="was changed while the dataset was read: run again"):
        world.run(plan, StageKind.DATASET)
    assert world.store.done() == set()
    world.run(world.plan(), StageKind.DATASET)
    assert len(world.store.done()) == 1


def test_an_image_that_is_back_as_it_was_is_read_again(world: World) -> None:
    plan = world.plan()
    expected = world.image(0)
    victim = world.folder / "pets" / "train" / "cat" / "0.png"
    before = victim.read_bytes()
    Image.fromarray(255 - expected).save(victim)  # the labels and sizes of all images are the same
    with pytest.raises(DataError, match="was changed while the dataset was read: run again"):
        world.run(plan, StageKind.DATASET)
    victim.write_bytes(before)
    world.run(plan, *BOTH)
    clean = Inputs(world.task(plan, StageKind.PRETRAIN)).train
    assert isinstance(clean, MappedImages)
    np.testing.assert_array_equal(clean.image(0), expected)


def test_an_image_that_changes_while_a_later_stage_reads_it_stops_the_stage(world: World) -> None:
    plan = world.plan('cache = "off"')
    world.run(plan, StageKind.DATASET)
    (poison,) = (one for one in plan.stages.values() if one.kind is StageKind.POISON)
    victim = world.folder / "pets" / "train" / "dog" / "0.png"

    def changes(task: Task) -> Outcome:
        Image.new("RGB", (32, 30)).save(victim)
        return poison_stage.run(task)

    with pytest.raises(DataError, match="was changed while the dataset was read: run again"):
        run_stage(poison, world.store, world.registry, "cpu", lambda *_: None, run=changes)
    assert len(world.store.done()) == 1


def test_verify_names_damaged_images(world: World) -> None:
    plan = world.plan()
    world.run(plan, StageKind.DATASET)
    file = next(world.store.root.rglob("train.safetensors"))
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    (one,) = verify_store(world.store, world.registry).differs
    assert "train.safetensors has" in one.message
    assert "SHA-256" in one.message


@pytest.mark.parametrize("option", ["", 'cache = "full"', 'cache = "off"', "cache = 20"])
def test_plan_tells_the_bytes(world: World, option: str) -> None:
    plan = world.plan(option)
    benchmark = load_benchmark(world.folder / "b.toml", world.registry)
    told = costs_of(plan, benchmark, world.registry, world.store).bytes_by_kind()["dataset"]
    world.run(plan, StageKind.DATASET)
    task = world.task(plan, StageKind.DATASET)
    files = {one.name: one.stat().st_size for one in task.folder.iterdir()}
    assert told is not None
    assert ("train.safetensors" in files) == (option != 'cache = "off"')
    assert abs(told - sum(files.values())) < 2500  # headers; the index is reckoned at 40 an image


def test_plan_says_what_is_too_large_to_be_kept(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backbench.data.limits.AUTO_LIMIT_BYTES", 1000)
    plan = world.plan()
    benchmark = load_benchmark(world.folder / "b.toml", world.registry)
    (note,) = costs_of(plan, benchmark, world.registry, world.store).notes
    assert "train would take 37.4 kB" in note
    world.run(plan, StageKind.DATASET)
    assert not list(world.store.root.rglob("train.safetensors"))
    assert without_decoded(plan, world.store) == []


def test_resize_and_a_number_contradict(world: World) -> None:
    with pytest.raises(ConfigError, match=r"datasets\.pets\.cache.*takes no number when resize"):
        world.plan("resize = 16\ncache = 20")


LABELS = np.repeat(np.arange(2), 2)
PIXELS = np.zeros((4, 8, 8, 3), np.uint8)


def odd(split: str, pixels: Any = PIXELS, labels: Any = LABELS) -> Any:
    return ArrayImages(pixels, labels, [f"{split}/{index}" for index in range(len(labels))])


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        (odd("train", labels=LABELS / 1), "labels float64 (4,) of 4 images"),
        (odd("train", labels=LABELS[:, None]), "labels int64 (4, 1)"),
        (odd("train", labels=LABELS - 1), "a label is outside [0, 2)"),
        (odd("train", labels=LABELS * 0), "2 images of class 'a' announced, 4 found"),
        (odd("train", pixels=PIXELS / 1), "pixels float64 (4, 8, 8, 3), not uint8 (N, H, W, 3)"),
        (odd("train", pixels=PIXELS[..., :1]), "pixels uint8 (4, 8, 8, 1)"),
        (PIXELS, "gave a ndarray, not an ImageSet"),
        (odd("train", PIXELS[:3], LABELS[:3]), "4 images announced, 3 found"),
    ],
)
def test_images_that_a_plugin_gives_are_labelled_pixels(images: Any, sentence: str) -> None:
    metadata = DatasetMetadata(("a", "b"), 4, 4, (8, 8), (2, 2))
    stage_module.check_split(odd("train"), "train", metadata)
    with pytest.raises(DataError) as caught:
        stage_module.check_split(images, "train", metadata)
    assert sentence in str(caught.value)
