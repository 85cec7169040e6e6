"""The real stages keep the validation split from every plugin that learns or chooses."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

from backbench.data.embedded import Embedded
from backbench.data.files import FileImages
from backbench.images import Overlay
from backbench.model import PluginUse, Stage, StageKind
from backbench.options.base import DatasetMetadata
from backbench.plugin import Defense, ImageEvaluator
from backbench.plugin.registry import load_registry
from backbench.poison.manifest import read_manifest
from backbench.stages import fit, predict
from backbench.stages.task import Task
from backbench.store.metadata import DatasetRecord
from backbench.store.store import Store
from backbench.testing.samples import tiny_encoder
from tests.contract.hygiene.conftest import Secrets
from tests.factories import record


@pytest.fixture
def spy(monkeypatch):
    """Return a function that puts a class made from the plugin's own in its place."""

    def put(make):
        real = Task.plugin

        def plugin(task):
            found, options, info = real(task)
            return make(found), options, info

        monkeypatch.setattr(Task, "plugin", plugin)

    return put


class Hidden:
    """The file of the validation images, which can be taken away."""

    def __init__(self, path):
        self.path, self.away = path, path.with_suffix(".away")

    def take(self):
        self.path.rename(self.away)

    def back(self):
        if self.away.exists():
            self.away.rename(self.path)


@pytest.fixture
def hidden(world, monkeypatch):
    def load(*_, **__):
        raise AssertionError("the validation split was asked for")

    monkeypatch.setattr(Embedded, "load", load)  # what a stage does where there is no file
    found = Hidden(world.dataset / "val.safetensors")
    yield found
    found.back()


def looking(found, secrets, names, seen, after=lambda: None):
    """Return a class that looks around, with all that it is handed, at the start of its methods."""

    def wrapped(name):
        real = getattr(found, name)

        def method(self, *arguments, **named):
            assert not secrets.found(self, arguments, named), f"seen in {name}"
            result = real(self, *arguments, **named)
            assert not secrets.found(self, arguments, named, result), f"seen after {name}"
            seen.append(name)
            if name == names[-1]:
                after()
            return result

        return method

    return type(f"Looking{found.__name__}", (found,), {name: wrapped(name) for name in names})


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (StageKind.PRETRAIN, ("__init__", "views", "training_loss")),
        (StageKind.REPAIR, ("__init__", "repair")),
        (StageKind.FIT, ("__init__", "fit")),
    ],
)
def test_who_trains_runs_without_the_validation_split(world, spy, hidden, kind, names):
    """Neither can it be reached, nor is it opened: the images are not even there."""
    seen, secrets = [], world.secrets
    hidden.take()
    spy(lambda found: looking(found, secrets, names, seen))
    world.again(world.one(kind))
    assert set(seen) == set(names)


def test_a_defense_on_the_data_sees_neither_split_nor_list(world, monkeypatch):
    """Poisoned images come as they are: their clean versions and their places are nowhere."""
    pretrain = world.one(StageKind.PRETRAIN, "poison")
    stage = Stage(StageKind.SANITIZE, None, 0, {**pretrain.inputs, "encoder": pretrain.key})
    train = load_file(world.dataset / "train.safetensors")["pixels"]
    manifest = world.store.artifact(pretrain.inputs["poison"]) / "train.jsonl"
    places = np.array([mark.index for mark in read_manifest(manifest)])
    secrets = world.secrets
    secrets.whole |= Secrets(images=train[places], labels=[places]).whole
    asked = []

    class Looks(Defense):
        def sanitize(self, encoder, images, context):
            assert not secrets.found(self, encoder, images, context.clean(0.3), closures=False)
            assert not isinstance(images, Overlay)
            assert set(images.labels) == {-1}
            asked.append(len(images))
            return np.arange(len(images)) - 5.0

    info = replace(world.registry.find("defense", "patch-search").info)
    monkeypatch.setattr(Task, "plugin", lambda _: (Looks, None, info))
    world.again(stage)
    assert asked == [96]


def test_an_attack_has_poisoned_before_the_validation_split_is_opened(world, spy, hidden):
    seen, stage = [], world.one(StageKind.POISON)
    secrets = Secrets(images=load_file(world.dataset / "val.safetensors")["pixels"])
    before = (world.folder(stage) / "train.jsonl").read_bytes()
    poisons = len(before.splitlines())
    hidden.take()

    def make(found):
        class Looking(found):
            def choose(self, labels, rng):
                assert not secrets.found(self, labels, rng)
                return super().choose(labels, rng)

            def stamp(self, image, rng, split):
                seen.append(split)
                if split == "train":
                    assert not secrets.found(self, image, rng)
                if len(seen) == poisons:
                    hidden.back()
                return super().stamp(image, rng, split)

        return Looking

    spy(make)
    world.again(stage)
    assert seen == ["train"] * poisons + ["val"] * 32
    assert (world.folder(stage) / "train.jsonl").read_bytes() == before


def test_an_evaluator_of_images_predicts_without_labels(world, spy):
    labels, seen = Secrets(labels=[load_file(world.dataset / "val.safetensors")["labels"]]), []

    def make(found):
        class Looking(found):
            def predict(self, encoder, images):
                assert not labels.found(self, encoder, images)
                assert set(images.labels) == {-1}
                assert set(images.sources) == {f"{i:08d}" for i in range(32)}
                seen.append("predict")
                return super().predict(encoder, images)

        return Looking

    spy(make)
    world.again(world.one(StageKind.PREDICT, "encoder"))
    assert seen == ["predict", "predict"]


def test_an_evaluator_of_features_is_fitted_on_the_training_split_alone(world):
    """The features of the validation split are not even there."""
    stage = world.one(StageKind.FIT, "clean")
    before = world.store.record(stage.key).files
    file = world.store.artifact(stage.inputs["clean"]) / "features.safetensors"
    content = file.read_bytes()
    tensors = load_file(file)
    save_file({name: tensors[name] for name in ("train", "train_labels")}, file)
    assert world.again(stage).files == before
    file.write_bytes(content)


def test_an_evaluator_of_features_predicts_without_labels(world, spy):
    labels, seen = Secrets(labels=[load_file(world.dataset / "val.safetensors")["labels"]]), []
    spy(lambda found: looking(found, labels, ("__init__", "predict"), seen))
    world.again(world.one(StageKind.PREDICT, "triggered"))
    assert seen == ["__init__", "predict", "predict"]


def put(store, key, stage, **more):
    """Write the record of a stage; return the folder of its artifact."""
    text = json.dumps(record(key, stage, **more).to_json())
    (store.root / "records" / f"{key}.json").write_text(text)
    folder = store.artifact(key)
    folder.mkdir()
    return folder


def test_images_on_disk_are_opened_when_the_evaluator_is_fitted(tmp_path, monkeypatch):
    """Of sets that are not in memory no attribute leads to the names, which tell the class."""
    root = tmp_path / "images"
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for name in ("ant", "bee"):
            (root / split / name).mkdir(parents=True)
            for side in (32, 36, 40):
                pixels = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{side}.png")
    store = Store(tmp_path / "store")
    store.prepare()
    options = {"root": str(root)}
    use = PluginUse("dataset", "image-folder", "backbench", 1, options, options)
    found = DatasetRecord(
        DatasetMetadata(("ant", "bee"), 6, 6, None, (3, 3)), sizes={"train": None, "val": None}
    )
    put(store, "d" * 32, Stage(StageKind.DATASET, use, None), metadata=found)
    from backbench.nn import save_encoder

    save_encoder(put(store, "e" * 32, StageKind.PRETRAIN), tiny_encoder())
    contents = {path: path.read_bytes() for path in root.glob("val/*/*.png")}
    seen = []

    class Looks(ImageEvaluator):
        def fit(self, encoder, images):
            assert len(images.labels) == 6
            assert not any(path.stat().st_size for path in contents)
            seen.append("fit")
            for path, content in contents.items():
                path.write_bytes(content)

        def predict(self, encoder, images):
            held = [images._image, *vars(images).values()]
            assert not any(isinstance(one, FileImages) for one in held)
            assert not any("ant" in str(one) for one in vars(images).values())
            assert images.image(5).ndim == 3
            seen.append("predict")
            return np.zeros((len(images), 2), np.float32)

    info = replace(load_registry().find("evaluator", "linear-augmented").info)
    monkeypatch.setattr(Task, "plugin", lambda _: (Looks, None, info))
    inputs = {"dataset": "d" * 32, "encoder": "e" * 32}
    kept = put(store, "f" * 32, StageKind.FIT)
    for module, read, folder in (
        (fit, inputs, kept),
        (predict, {**inputs, "fit": "f" * 32}, tmp_path),  # which fits again: nothing is stored
    ):
        for path in contents:
            path.write_bytes(b"")
        stage = Stage(StageKind(module.__name__.rpartition(".")[2]), None, 0, read)
        module.run(Task(stage, store, folder, load_registry(), "cpu", lambda *_: None))
    assert seen == ["fit", "fit", "predict"]
