"""The conformance kit over every plugin that comes with backbench."""

# ruff: noqa: RUF012 - options are written as a plugin author writes them

from __future__ import annotations

import dataclasses
import importlib.util
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torchvision
from PIL import Image

from backbench.data import torchvision_sets
from backbench.testing import (
    AttackContract,
    DatasetContract,
    DefenseContract,
    EncoderAttackContract,
    EvaluatorContract,
    ExecutorContract,
    ImageEvaluatorContract,
    InputDefenseContract,
    LearningAttackContract,
    MetricContract,
    ModelDefenseContract,
    NamedObserverContract,
    PluginContract,
    SSLMethodContract,
    TrainingDefenseContract,
)
from backbench.testing.base import installed


def record(kind: str, name: str) -> Any:
    return installed().find(kind, name).info


def needs(package: str) -> pytest.MarkDecorator:
    missing = importlib.util.find_spec(package) is None
    return pytest.mark.skipif(missing, reason=f"{package} is not installed")


#: A short training.
TINY = {
    "epochs": 2,
    "batch_size": 8,
    "backbone": {"name": "tiny-resnet", "widths": [4, 8], "strides": [1, 2], "stem_width": 4},
    "schedule": {"name": "constant", "milestones": [], "warmup_steps": 0, "warmup_epochs": 0},
    "precision": "fp32",
    "knn_evaluations": 1,
}


# -- attacks ----------------------------------------------------------------------------------


class TestPatchTargeted(AttackContract):
    info = record("attack", "patch")
    options = {"target": "bee", "width": 8, "opacity": 0.8}


class TestPatchUntargeted(AttackContract):
    info = record("attack", "patch")
    options = {"mode": "untargeted", "rate": {"of": "dataset", "value": 0.1}, "width": 8}


class TestPatchOnImagesOfAnySize(AttackContract):
    info = record("attack", "patch")
    options = {"target": "ant", "rate": {"of": "count", "value": 3}, "width": 9}
    metadata = dataclasses.replace(AttackContract.metadata, size=None)


class TestPatchAcrossTheWholeImage(AttackContract):
    info = record("attack", "patch")
    options = {"target": "ant", "width": 48}
    metadata = dataclasses.replace(AttackContract.metadata, size=(48, 64))


class TestPatchNineTimes(AttackContract):
    info = record("attack", "patch")
    options = {
        "target": "ant",
        "width": 8,
        "train_placement": "multiple",
        "val_placement": "multiple",
        "val_opacity": 0.5,
        "jpeg_quality": 75,
    }


class TestPatchOfText(AttackContract):
    info = record("attack", "patch")
    options = {"target": "ant", "text": "hi", "text_size": 10, "val_placement": "center"}


class TestPatchPasted(AttackContract):
    info = record("attack", "patch")
    options = {"target": "ant", "width": 8, "blend": "paste"}


class TestCTRL(AttackContract):
    info = record("attack", "ctrl")
    options = {"target": "ant", "rate": {"of": "target_class", "value": 0.5}}


class TestCTRLOnImagesOfAnySize(AttackContract):
    info = record("attack", "ctrl")
    options = {
        "target": "bee",
        "rate": {"of": "count", "value": 3},
        "window": 16,
        "coefficients": [[7, 7]],
    }
    metadata = dataclasses.replace(AttackContract.metadata, size=None)


class TestNoisyAlignment(AttackContract):
    info = record("attack", "noisy-alignment")
    options = {
        "target": "ant",
        "rate": {"of": "count", "value": 6},
        "references": 3,
        "shadows": 4,
        "width": 8,
    }


class TestNoisyAlignmentSqueezed(AttackContract):
    info = record("attack", "noisy-alignment")
    options = {
        "target": "bee",
        "rate": {"of": "target_class", "value": 0.5},
        "replace": True,
        "canvas": "squeezed",
        "width": 6,
    }


class TestNoisyAlignmentOnImagesOfAnySize(AttackContract):
    info = record("attack", "noisy-alignment")
    options = {"target": "bee", "rate": {"of": "count", "value": 3}, "width": 8}
    metadata = dataclasses.replace(AttackContract.metadata, size=None)


class TestCorruptEncoder(AttackContract):
    info = record("attack", "corrupt-encoder")
    options = {"target": "ant", "rate": {"of": "count", "value": 4}, "width": 8}


class TestCorruptEncoderPlus(AttackContract):
    info = record("attack", "corrupt-encoder")
    options = {
        "target": "ant",
        "rate": {"of": "count", "value": 5},
        "support_ratio": 0.4,
        "canvas_ratio": 2.5,
        "width": 8,
    }
    metadata = dataclasses.replace(AttackContract.metadata, size=None)


class TestNoLabel(AttackContract):
    info = record("attack", "no-label")
    options = {"rate": {"of": "count", "value": 8}, "width": 8}


class TestNoLabelByClusters(AttackContract):
    info = record("attack", "no-label")
    options = {
        "rate": {"of": "count", "value": 8},
        "selection": "cluster",
        "clusters": 3,
        "width": 8,
    }


class TestBadEncoder(EncoderAttackContract):
    info = record("attack", "badencoder")
    options = {"target": "ant", "width": 6, "epochs": 2, "batch_size": 16, "references": 2}


class TestDRUPE(EncoderAttackContract):
    info = record("attack", "badencoder")
    options = {
        "target": "ant",
        "width": 6,
        "epochs": 7,
        "batch_size": 16,
        "references": 3,
        "preserve": True,
    }


class TestBLTO(LearningAttackContract):
    info = record("attack", "blto")
    options = {
        "target": "ant",
        "rate": {"of": "count", "value": 4},
        "width": 4,
        "restarts": 2,
        "steps": 2,
        "batch_size": 4,
        "surrogate": TINY | {"dim": 8, "hidden": 4},
    }


# -- methods ----------------------------------------------------------------------------------


class TestMoCo(SSLMethodContract):
    info = record("ssl-method", "moco-v2")


class TestMoCoInGroups(SSLMethodContract):
    info = record("ssl-method", "moco-v2")
    options = {"dim": 8, "hidden": 16, "queue": 16, "norm_groups": 2}


class TestBYOL(SSLMethodContract):
    info = record("ssl-method", "byol")


class TestSimCLR(SSLMethodContract):
    info = record("ssl-method", "simclr")


class TestSimSiam(SSLMethodContract):
    info = record("ssl-method", "simsiam")


class TestJigsaw(SSLMethodContract):
    info = record("ssl-method", "jigsaw")


class TestRotNet(SSLMethodContract):
    info = record("ssl-method", "rotnet")


# -- defenses ---------------------------------------------------------------------------------


class TestDistill(DefenseContract):
    info = record("defense", "distill")
    options = {name: TINY[name] for name in TINY if name != "backbone"} | {
        "clean_fraction": 0.5,
        "queue": 16,
    }


class TestPatchSearch(DefenseContract):
    info = record("defense", "patch-search")
    options = {
        "clusters": 4,
        "test_images": 8,
        "window": 8,
        "top": 3,
        "classifiers": 2,
        "steps": 3,
        "batch_size": 4,
        "patch_sizes": [4, 8],
        "backbone": TINY["backbone"],
    }


class TestPatchSearchWithoutClassifiers(DefenseContract):
    info = record("defense", "patch-search")
    options = TestPatchSearch.options | {"classifiers": 0, "window_by": "occlusion"}


class TestDecree(ModelDefenseContract):
    info = record("defense", "decree")
    options = {"clean_fraction": 0.5, "epochs": 3, "batch_size": 8}


class TestSSLCleanse(ModelDefenseContract):
    info = record("defense", "ssl-cleanse")
    options = {
        "clean_fraction": 1.0,
        "most_clusters": 4,
        "inversion_epochs": 1,
        "batch_size": 20,
        "epochs": 1,
    }


class TestSSLCleanseRepairs(DefenseContract):
    info = record("defense", "ssl-cleanse")
    options = TestSSLCleanse.options


class TestBackdoorIDS(InputDefenseContract):
    info = record("defense", "backdoor-ids")
    options = {"grid": 4, "steps": 5}


class TestDeDe(InputDefenseContract):
    info = record("defense", "dede")
    options = {"patch": 8, "width": 16, "depth": 1, "heads": 2, "epochs": 2, "draws": 2}


class TestFinePrune(DefenseContract):
    info = record("defense", "fine-prune")
    options = {name: TINY[name] for name in TINY if name != "backbone"} | {"clean_fraction": 0.5}


class TestCutMix(TrainingDefenseContract):
    info = record("defense", "cutmix")


class TestLocalizedCropping(TrainingDefenseContract):
    info = record("defense", "localized-cropping")


# -- evaluators -------------------------------------------------------------------------------


class TestLinear(EvaluatorContract):
    info = record("evaluator", "linear")
    options = {"label_fraction": 0.5}


class TestLinearOfSeveralPenalties(EvaluatorContract):
    info = record("evaluator", "linear")
    options = {"label_fraction": 0.5, "penalty": [1e-4, 1e-2]}


class TestLinearSGD(EvaluatorContract):
    info = record("evaluator", "linear")
    options = {"solver": "sgd", "label_fraction": 1.0, "batch_size": 8}


class TestLinearRaw(EvaluatorContract):
    info = record("evaluator", "linear-raw")
    options = {"label_fraction": 1.0, "batch_size": 40, "lr": 0.1}


class TestKNN(EvaluatorContract):
    info = record("evaluator", "knn")
    options = {"k": 5}


class TestKNNOfSeveral(EvaluatorContract):
    info = record("evaluator", "knn")
    options = {"k": [1, 5]}


FEW = {"label_fraction": 1.0, "batch_size": 13, "lr": 0.1, "epochs": 12, "milestones": [8, 10]}
MORE = {"epochs": 25, "milestones": [15, 20]}


class TestLinearAugmented(ImageEvaluatorContract):
    info = record("evaluator", "linear-augmented")
    options = FEW


class TestLinearCached(ImageEvaluatorContract):
    info = record("evaluator", "linear-cached")
    options = FEW | {"views": 3}


class TestFineTune(ImageEvaluatorContract):
    info = record("evaluator", "fine-tune")
    options = {"label_fraction": 1.0, "batch_size": 13, "epochs": 4, "precision": "fp32"}


class TestJigsawProbe(ImageEvaluatorContract):
    info = record("evaluator", "layer-probe")
    options = FEW | MORE | {"pool": [2, 2, 1]}


class TestRotNetProbe(ImageEvaluatorContract):
    info = record("evaluator", "layer-probe")
    options = info.presets["saha2022-rotnet"] | FEW | MORE | {"pool": [2, 1]}


# -- datasets --------------------------------------------------------------------------------


class TestEmbedded(DatasetContract):
    info = record("dataset", "embedded")
    options = {"classes": 12, "size": 16, "train_per_class": 3, "val_per_class": 2}


def draw(path, size, color):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).save(path)


class TestImageFolder(DatasetContract):
    info = record("dataset", "image-folder")

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path):
        for index in range(4):
            for label, name in enumerate(("ant", "bee hive")):
                size = (20 + index, 24)
                draw(tmp_path / f"train/{name}/{index}.png", size, (index, label, 0))
                draw(tmp_path / f"val/{name}/{index}.png", size, (index, label, 255))
        self.options = {"root": str(tmp_path), "val_size": 16}


class TestUnlabelledFolder(DatasetContract):
    info = record("dataset", "unlabelled-folder")

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path):
        for index in range(3):
            draw(tmp_path / f"images/{index}.png", (20 + index, 24), (index, 0, 0))
        self.options = {"root": str(tmp_path / "images"), "resize": 16}


class TestFileList(DatasetContract):
    info = record("dataset", "file-list")

    @pytest.fixture(autouse=True)
    def _lists(self, tmp_path):
        for split in ("train", "val"):
            lines = []
            for index in range(6):
                draw(tmp_path / f"{split} {index}.png", (16, 16), (index, 0, split == "val"))
                lines.append(f"{split} {index}.png {index % 3}\n")
            (tmp_path / f"{split}.txt").write_text("".join(lines))
        self.options = {split: str(tmp_path / f"{split}.txt") for split in ("train", "val")}


class PublishedContract(DatasetContract):
    """torchvision's reader is replaced by one that gives twenty images: nothing is fetched."""

    implementation_class: type[torchvision_sets.TorchvisionDataset]

    @pytest.fixture(autouse=True)
    def _twenty_images(self, tmp_path, monkeypatch):
        published = self.implementation_class.published
        classes = len(published.classes.split())
        small = dataclasses.replace(published, train=2 * classes, val=classes)
        monkeypatch.setattr(self.implementation_class, "published", small)
        monkeypatch.setattr(torchvision.datasets, published.name, self._opened)
        (tmp_path / published.folder).mkdir()
        self.options = {"root": str(tmp_path)}

    def _opened(self, _root, *, train=False, split="", **_unused):
        published = self.implementation_class.published
        count = published.train if train or split == "train" else published.val
        side, classes = published.side, len(published.classes.split())
        pixels = np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)
        targets = (np.arange(count) % classes).tolist()
        return SimpleNamespace(data=pixels, targets=targets, labels=np.array(targets, np.uint8))


class TestCifar10(PublishedContract):
    info = record("dataset", "cifar10")
    implementation_class = torchvision_sets.Cifar10


class TestCifar100(PublishedContract):
    info = record("dataset", "cifar100")
    implementation_class = torchvision_sets.Cifar100


class TestStl10(PublishedContract):
    info = record("dataset", "stl10")
    implementation_class = torchvision_sets.Stl10

    def _opened(self, _root, **asked):
        opened = super()._opened(_root, **asked)
        opened.data = opened.data.transpose(0, 3, 1, 2)  # as torchvision gives them
        return opened


# -- metrics and executors ---------------------------------------------------------------------


class TestFlipRate(MetricContract):
    info = record("metric", "flip-rate")


class TestDER(MetricContract):
    info = record("metric", "der")


class TestRIR(MetricContract):
    info = record("metric", "rir")


class TestSerial(ExecutorContract):
    info = record("executor", "serial")


class TestLocal(ExecutorContract):
    info = record("executor", "local")


@needs("submitit")
class TestSlurm(ExecutorContract):
    info = record("executor", "slurm")
    options = {"cluster": "local", "poll_s": 0.1}


# -- observers --------------------------------------------------------------------------------


@needs("tensorboard")
@pytest.mark.filterwarnings("ignore")
class TestTensorBoard(NamedObserverContract):
    info = record("observer", "tensorboard")

    def test_its_files_hold_the_curves_and_the_numbers(self, tmp_path: Path) -> None:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
        from tensorboard.util.tensor_util import make_ndarray

        self.observe(tmp_path)
        found = {}
        for path in tmp_path.glob("runs/a-benchmark/*/*/events.*"):
            events = EventAccumulator(str(path)).Reload()
            for tag in events.Tags()["tensors"]:
                (event,) = events.Tensors(tag)
                found[path.parent.name, tag] = event.step, make_ndarray(event.tensor_proto).item()
        stage = "pretrain a-method on a-dataset, seed 0"
        assert found == {
            (stage, "loss"): (5, 1.5),
            (stage, "lr"): (5, pytest.approx(0.1)),
            ("results", "accuracy/clean/a-method"): (0, 0.5),
            ("results", "leaderboard"): (0, b"| a |"),
        }
        (figure,) = tmp_path.glob("runs/a-benchmark/*/results/figures/*")
        assert (figure.name, figure.read_bytes()[:4]) == ("square.svg", b"<svg")


@needs("wandb")
@pytest.mark.filterwarnings("ignore")
class TestWandb(NamedObserverContract):
    info = record("observer", "wandb")
    options = {"mode": "offline"}

    def test_the_run_is_kept_on_disk(self, tmp_path: Path) -> None:
        self.observe(tmp_path)
        (path,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
        content = path.read_bytes()
        until = time.monotonic() + 20
        while b"accuracy/clean/a-method" not in content and time.monotonic() < until:
            time.sleep(0.05)  # a process of wandb's own writes the file
            content = path.read_bytes()
        assert b"pretrain a-method on a-dataset, seed 0/loss" in content
        assert b"accuracy/clean/a-method" in content


@needs("mlflow")
@pytest.mark.filterwarnings("ignore")
class TestMLflow(NamedObserverContract):
    info = record("observer", "mlflow")

    @pytest.fixture(autouse=True, scope="class")
    def _one_store(self, request: Any, tmp_path_factory: Any) -> None:
        """Make the tables once: that takes seconds."""
        path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
        request.cls.options = {"tracking_uri": f"sqlite:///{path}"}

    def test_the_numbers_can_be_read(self, tmp_path: Path) -> None:
        from mlflow import MlflowClient

        self.observe(tmp_path)
        client = MlflowClient(self.options["tracking_uri"])
        experiment = client.get_experiment_by_name("a-benchmark").experiment_id
        runs = client.search_runs([experiment])
        stages = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
        trained = next(run for run in stages if "loss" in run.data.metrics)
        failed = next(run for run in stages if "failed" in run.data.tags)
        assert failed.data.tags["failed"] == "the disk is full"
        (point,) = client.get_metric_history(trained.info.run_id, "loss")
        assert (point.step, point.value) == (5, 1.5)
        whole = client.get_run(trained.data.tags["mlflow.parentRunId"])
        assert whole.data.metrics["accuracy/clean/a-method"] == 0.5
        assert whole.info.status == "KILLED"  # the kit's run is interrupted
        artifacts = {one.path for one in client.list_artifacts(whole.info.run_id)}
        assert artifacts == {"leaderboard.md", "leaderboard.csv", "square.svg"}


# -- none is left out -------------------------------------------------------------------------

#: Contracts that need a cluster, and lie with its tests.
ELSEWHERE = {("executor", "ray"): Path(__file__).parents[2] / "unit" / "execution" / "test_ray.py"}

CONTRACTS = [
    thing
    for name, thing in list(vars(sys.modules[__name__]).items())
    if name.startswith("Test") and isinstance(thing, type) and issubclass(thing, PluginContract)
]


@pytest.mark.parametrize(
    "found",
    [one for one in installed().all() if one.origin.distribution == "backbench"],
    ids=lambda one: f"{one.info.kind}-{one.info.name}",
)
def test_every_builtin_has_a_contract(found):
    if elsewhere := ELSEWHERE.get((found.info.kind, found.info.name)):
        assert f"class TestRay({found.info.kind.title()}Contract)" in elsewhere.read_text()
    else:
        assert found.info in [contract.info for contract in CONTRACTS]
