"""The evaluation split: nobody who learns or chooses sees it, and who cheats is caught."""

from __future__ import annotations

import functools
import json
import tempfile
import types
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from safetensors.numpy import load_file, save_file

from backbench.benchmark.config import load_benchmark
from backbench.benchmark.planning import make_plan
from backbench.data.embedded import Embedded
from backbench.data.files import FileImages
from backbench.images import ArrayImages, ImageSet, Overlay, Subset, Unlabelled
from backbench.model import PluginUse, Stage, StageKind
from backbench.options.base import DatasetMetadata
from backbench.plugin import Defense, ImageEvaluator, selection_split
from backbench.plugin.registry import load_registry
from backbench.poison.manifest import read_manifest
from backbench.seeds import derive
from backbench.stages import fit, predict
from backbench.stages import inputs as data
from backbench.stages.run import run_stage, runner
from backbench.stages.task import Task
from backbench.store.metadata import DatasetRecord
from backbench.store.store import Store, hash_files
from backbench.testing import METADATA
from backbench.testing.samples import tiny_encoder
from backbench_evaluators.evaluator_options import LinearOptions
from backbench_evaluators.linear import FeatureProbe
from tests.conftest import tiny
from tests.contract.broken import attack, evaluator, image_evaluator, kit_of, repair, run
from tests.factories import record

# -- what can be reached --------------------------------------------------------------------------

_PLAIN = (str, int, float, complex, type(None), Path, type, type(np), np.dtype, np.generic)


def reachable(*things, closures):
    """Yield the arrays and bytes that lead from things by attributes, items, and closures."""
    seen, waiting = {}, list(things)
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, (*_PLAIN, Secrets)):
            continue
        seen[id(one)] = one  # an id is of one object only while that lives
        if isinstance(one, bytes | bytearray | memoryview):
            yield bytes(one)
        elif isinstance(one, torch.Tensor):
            yield one.detach().cpu().numpy()
        else:
            if isinstance(one, np.ndarray):
                yield one
            waiting += _next(one, closures=closures)


def _next(one, *, closures):  # noqa: PLR0911 - a case a kind of thing
    if isinstance(one, np.ndarray):
        return [one.base]
    if isinstance(one, dict):
        return [*one.keys(), *one.values()]
    if isinstance(one, list | tuple | set | frozenset):
        return list(one)
    if type(one) is np.random.Generator:
        return [one.bit_generator.state]  # and not its interfaces to C, which are made when asked
    if isinstance(one, functools.partial):
        return [one.func, one.args, one.keywords]
    if isinstance(one, types.FunctionType):
        cells = (one.__closure__ or ()) if closures else ()
        return [one.__defaults__, *(cell.cell_contents for cell in cells)]
    if hasattr(one, "__self__"):
        return [one.__self__, getattr(one, "__func__", None)]
    if isinstance(one, torch.nn.Module):
        return list(vars(one).values())
    return [value for name in dir(one) if not name.startswith("__") for value in _value(one, name)]


def _value(one, name):
    try:
        return [getattr(one, name)]
    except Exception:  # noqa: BLE001 - a property that does not apply
        return []


class Secrets:
    """Images, features and labels that must not be found."""

    def __init__(self, *, images=(), rows=(), labels=()):
        self.whole = {np.ascontiguousarray(one).tobytes() for one in (*images, *rows, *labels)}

    def found(self, *things, closures=True):
        for one in reachable(*things, closures=closures):
            if isinstance(one, bytes):
                if any(secret in one for secret in self.whole):
                    return True
                continue
            parts = np.ascontiguousarray(one)
            while parts.ndim:
                if parts.tobytes() in self.whole or any(p.tobytes() in self.whole for p in parts):
                    return True
                if parts.ndim < 4:
                    break
                parts = parts.reshape(-1, *parts.shape[2:])
        return False


def test_the_search_finds_what_is_there():
    secret = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    secrets = Secrets(images=[secret])
    others = np.zeros((5, 4, 4, 3), np.uint8)

    class Holder:
        __slots__ = ("inner",)

        @property
        def made(self):
            return [{"x": self.inner}]

    holder = Holder()
    holder.inner = others
    assert not secrets.found(holder)
    stacked = np.stack([others[0], secret])
    holder.inner = stacked
    assert secrets.found(holder)
    assert secrets.found((stacked[:1],))  # by the array that it is a part of
    assert secrets.found(lambda: stacked)
    assert not secrets.found(lambda: stacked, closures=False)
    assert secrets.found(ArrayImages(stacked, np.zeros(2, np.int64), "ab").image)
    assert secrets.found(torch.from_numpy(stacked))


# -- the real stages ------------------------------------------------------------------------------

MATRIX = """
[evaluators.linear-augmented]
label_fraction = 1.0
epochs = 1

[[matrix]]
datasets = ["drawn"]
attacks = ["targeted"]
methods = ["rotnet"]
defenses = ["distill"]
evaluators = ["linear", "linear-augmented"]
"""


class World:
    """The tiny benchmark, run stage by stage, with what must not be seen."""

    def __init__(self, folder):
        (folder / "b.toml").write_text(
            tiny().partition("[[matrix]]")[0].replace("epochs = 2", "epochs = 1") + MATRIX
        )
        self.registry = load_registry()
        plan = make_plan(load_benchmark(folder / "b.toml", self.registry), {"drawn": "content"})
        self.stages = plan.stages
        self.store = Store(folder / "store")
        self.store.prepare()
        for stage in plan.stages.values():
            self.run(stage)

    def run(self, stage):
        return run_stage(stage, self.store, self.registry, "cpu", lambda *_: None)

    def again(self, stage):
        """Run a stage once more without publishing it, whatever has been done to its inputs."""
        data._decoded.cache_clear()
        with tempfile.TemporaryDirectory(dir=self.store.root) as folder:
            task = Task(stage, self.store, Path(folder), self.registry, "cpu", lambda *_: None)
            outcome = runner(stage.kind)(task)
            return SimpleNamespace(metadata=outcome.metadata, files=hash_files(Path(folder)))

    def one(self, kind, reads="dataset"):
        """Return a stage of a kind that reads an input of some role."""
        stages = self.stages.values()
        return next(one for one in stages if one.kind is kind and reads in one.inputs)

    def folder(self, stage):
        return self.store.artifact(stage.key)

    @property
    def dataset(self):
        return self.folder(next(s for s in self.stages.values() if s.kind is StageKind.DATASET))

    @property
    def secrets(self):
        val = load_file(self.dataset / "val.safetensors")
        rows = [
            row
            for stage in self.stages.values()
            if stage.kind is StageKind.FEATURES
            for row in load_file(self.folder(stage) / "features.safetensors")["val"]
        ]
        return Secrets(images=val["pixels"], labels=[val["labels"]], rows=rows)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("hygiene"))


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


def test_parts_of_a_set_do_not_hold_the_set():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (6, 4, 4, 3), dtype=np.uint8)
    labels = np.arange(6) + 10
    uniform = ArrayImages(pixels, labels, list("abcdef"))

    class Ragged(ImageSet):
        def image(self, index):
            return pixels[index]

    rows = np.array([4, 1])
    rest = Secrets(images=pixels[[0, 2, 3, 5]], labels=[labels])
    for images in (uniform, Ragged(labels, list("abcdef"))):
        part, bare = Subset(images, rows), Unlabelled(images)
        for position, row in enumerate(rows):
            np.testing.assert_array_equal(part.image(position), pixels[row])
            np.testing.assert_array_equal(bare.image(int(row)), pixels[row])
        assert part.labels.tolist() == [14, 11]
        assert not rest.found(part, closures=False)
        assert not Secrets(labels=[labels]).found(bare, closures=False)


# -- the kit catches who cheats all the same ------------------------------------------------------


class Remembers:
    """What a class keeps from one stage of a worker to the next."""

    kept: tuple[float, ...] = ()

    @classmethod
    def keep(cls, array):
        Remembers.kept = (*Remembers.kept, float(np.asarray(array, np.float64).sum()))

    @classmethod
    def noise(cls):
        return sum(Remembers.kept) % 97


@pytest.fixture(autouse=True)
def _nothing_kept():
    Remembers.kept = ()


class Carries(evaluator.Right):
    def fit(self, features, labels, classes):
        super().fit(features, labels, classes)
        self.centers = self.centers + Remembers.noise()

    def predict(self, features):
        Remembers.keep(features)
        return super().predict(features)


class CarriesColors(image_evaluator.Right):
    def fit(self, encoder, images):
        super().fit(encoder, images)
        self.centers = self.centers + Remembers.noise()

    def predict(self, encoder, images):
        Remembers.keep(images.pixels)
        return super().predict(encoder, images)


class LooksIntoTheStore(Defense):
    """Goes from its checkpoint to the images of the evaluation."""

    def repair(self, encoder, context):
        import copy

        root = context.checkpoint.parent.parent
        found = next(root.glob("artifacts/*/val.safetensors"))
        mended = copy.deepcopy(encoder)
        with torch.no_grad():
            for parameter in mended.parameters():
                parameter.add_(float(load_file(found)["pixels"].mean()))
        return mended


class ChoosesByThem(attack.Right):
    def choose(self, labels, rng):
        return super().choose(np.roll(labels, 1), np.random.default_rng(int(Remembers.noise())))

    def stamp(self, image, rng, split):
        if split == "val":
            Remembers.keep(image)
        return super().stamp(image, rng, split)


@pytest.mark.parametrize(
    ("module", "wrong", "test"),
    [
        (evaluator, Carries, "test_nothing_is_learned_from_the_validation_split"),
        (image_evaluator, CarriesColors, "test_nothing_is_learned_from_the_validation_split"),
        (attack, ChoosesByThem, "test_poisons_do_not_follow_from_the_validation_split"),
        (repair, LooksIntoTheStore, "test_nothing_follows_from_the_validation_split"),
    ],
)
def test_what_follows_from_the_validation_split_is_caught(tmp_path, module, wrong, test):
    for name in ("right", "wrong"):
        (tmp_path / name).mkdir()
    run(kit_of(module, module.Right), test, tmp_path / "right")
    Remembers.kept = ()
    with pytest.raises(AssertionError):
        run(kit_of(module, wrong), test, tmp_path / "wrong")


# -- a part of the training images to choose on ---------------------------------------------


def test_a_selection_split_is_a_share_of_each_class():
    labels = np.repeat([0, 1, 2, 5], [10, 5, 1, 2])
    own, apart = selection_split(labels, 0.2, 7)
    assert np.array_equal(np.sort(np.concatenate([own, apart])), np.arange(18))
    assert np.bincount(labels[apart], minlength=6).tolist() == [2, 1, 0, 0, 0, 1]
    assert (np.diff(own) > 0).all()
    assert (np.diff(apart) > 0).all()
    again = selection_split(labels, 0.2, 7)
    assert all(np.array_equal(a, b) for a, b in zip((own, apart), again, strict=True))
    assert set(apart) < set(selection_split(labels, 0.5, 7)[1])
    assert not np.array_equal(apart, selection_split(labels, 0.2, 8)[1])
    assert len(selection_split(np.full(10, -1), 0.3, 0)[1]) == 3
    assert len(selection_split(labels, 0.999, 0)[0]) == 4
    for wrong in (0, 1, -0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match="must be in"):
            selection_split(labels, wrong, 0)


def noisy(seed, count):
    """Two classes that one of 40 features tells apart: with few images a penalty helps."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    features = rng.standard_normal((count, 40)).astype(np.float32)
    features[:, 0] += 2.0 * labels
    return features, labels


def test_a_penalty_is_chosen_on_training_images():
    features, labels = noisy(0, 60)
    penalties = (0.1, 1e-6, 10.0)
    options = LinearOptions(label_fraction=1.0, penalty=penalties)
    several = FeatureProbe(options, 3)
    several.fit(features, labels, 2)
    said = several.selection()
    own, apart = selection_split(labels, 0.2, derive(3, "penalty"))
    accuracies = {}
    for penalty in penalties:
        one = FeatureProbe(LinearOptions(label_fraction=1.0, penalty=penalty), 3)
        one.fit(features[own], labels[own], 2)
        right = one.predict(features[apart]).argmax(axis=1) == labels[apart]
        accuracies[str(penalty)] = right.mean()
        assert one.selection() == {}
    assert said["images"] == len(apart) == 12
    assert said["accuracy"] == pytest.approx(accuracies)
    best = max(accuracies.values())
    assert said["penalty"] == max(p for p in penalties if accuracies[str(p)] == best)
    assert len(set(accuracies.values())) > 1
    # learnt again from all the labelled images
    alone = FeatureProbe(LinearOptions(label_fraction=1.0, penalty=said["penalty"]), 3)
    alone.fit(features, labels, 2)
    for name, array in alone.state().items():
        np.testing.assert_array_equal(array, several.state()[name])
    json.dumps(dict(said))


def test_options_of_one_penalty_are_what_they_were():
    """No key moves: a number stays a number."""
    assert LinearOptions().identity()["penalty"] == 1e-4
    assert LinearOptions(penalty=0).identity()["penalty"] == 0
    assert LinearOptions(penalty=[0.1, 0.2]).identity()["penalty"] == [0.1, 0.2]
    for wrong in ([], [0.1, 0.1], -1, [0.1, -1], "x", True, float("inf")):
        with pytest.raises(ValidationError) as raised:
            LinearOptions(penalty=wrong)
        assert raised.value.error_count() == 1
    few = replace(METADATA, train_per_class=(9, 9, 9))
    assert list(LinearOptions(penalty=1.0).problems(few)) == []
    (said,) = LinearOptions(penalty=[0.1, 1.0]).problems(few)
    assert said.startswith("penalty: no class has two labelled images")
    assert list(LinearOptions(penalty=[0.1, 1.0], label_fraction=0.5).problems(few)) == []


def test_the_record_says_what_was_chosen(world, monkeypatch):
    stage = world.one(StageKind.FIT, "clean")
    options = LinearOptions(label_fraction=1.0, penalty=(1e-4, 1e-2))
    info = world.registry.find("evaluator", "linear").info
    monkeypatch.setattr(Task, "plugin", lambda _: (FeatureProbe, options, info))
    selection = world.run(replace(stage, seed=17)).metadata.selection
    assert selection["penalty"] in options.penalty
    assert set(selection["accuracy"]) == {"0.0001", "0.01"}
    monkeypatch.undo()
    assert world.again(stage).metadata.selection == {}
