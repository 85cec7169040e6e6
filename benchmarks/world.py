"""A drawn world with a few short-trained encoders, for the harness and for the published code.

The store has the dataset, its poison and the encoders; beside it are the same images as PNG
files with the published code's lists, and the same weights as its checkpoints.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backbench.benchmark.config import load_benchmark
from backbench.benchmark.planning import make_plan
from backbench.model import Plan, Stage, StageKind
from backbench.plugin.registry import Registry, load_registry
from backbench.report.board import measured_in
from backbench.results.reader import numbers
from backbench.stages.run import run_stage
from backbench.store.records import Record
from backbench.store.store import Store

SPLITS = ("train", "val", "triggered")
ATTACK, TARGET = "targeted", "pleated-lamp"
CLASSES = 10
#: What contenders of one core are pinned to.
CORE = "1"

_FILE = """
[benchmark]
name = "bench"
seeds = [{seeds}]

[datasets.drawn]
plugin = "embedded"
classes = {classes}
size = {size}
train_per_class = {train}
val_per_class = {val}

[attacks.{attack}]
plugin = "patch"
target = "{target}"
rate = {{ of = "target_class", value = 1.0 }}
trigger = 13
width = {width}

[methods.moco-v2]
preset = "small"
epochs = {epochs}
batch_size = 100
queue = 200
schedule = {{ warmup_epochs = 0 }}
backbone = {{ name = "resnet18", stem = "imagenet" }}
views = {{ size = {size} }}

[evaluators.linear]
preset = "saha2022"
label_fraction = 1.0

[evaluators.linear-cached]
preset = "saha2022"
label_fraction = 1.0

[[matrix]]
datasets = ["drawn"]
attacks = ["{attack}"]
methods = ["moco-v2"]
evaluators = ["linear", "linear-cached"]
"""


@dataclass(frozen=True, slots=True)
class World:
    """What lies in a folder.

    Args:
        folder: It.
        store: In it.
        plan: Of its benchmark.
        registry: The installed plugins.
    """

    folder: Path
    store: Store
    plan: Plan
    registry: Registry

    def run(self, stage: Stage) -> Record:
        """Run a stage; again, if it has been run."""
        return run_stage(stage, self.store, self.registry, "cpu", lambda *_: None)

    def metrics(self, record: Record) -> dict[str, float]:
        """Return the metrics of an evaluation."""
        measured = measured_in(self.registry, self.plan, self.store)(record.key, "")
        return numbers(measured or {})

    @property
    def encoders(self) -> list[Stage]:
        """Every encoder, poisoned and clean, in a fixed order."""
        return [one for one in self.plan.stages.values() if one.kind == StageKind.PRETRAIN]

    def evaluation(self, encoder: int, evaluator: str) -> list[Stage]:
        """Return the stages that evaluate an encoder under the trigger, after its training.

        Args:
            encoder: Its number.
            evaluator: Name of the evaluator.
        """
        key = self.encoders[encoder].key
        for stage in self.plan.stages.values():
            if stage.kind != StageKind.PREDICT or stage.plugin is None:
                continue
            inputs = [self.plan.stages[one] for one in stage.inputs.values()]
            before = [one for one in inputs if one.kind in {StageKind.FEATURES, StageKind.FIT}]
            read = {key for one in (stage, *before) for key in one.inputs.values()}
            if key in read and stage.plugin.name == evaluator:
                return [*before, stage]
        raise KeyError(evaluator)

    def list_file(self, split: str) -> Path:
        """Return the list of a split, as the published code reads it."""
        return self.folder / f"{split}.txt"

    def weights(self, encoder: int) -> Path:
        """Return an encoder's checkpoint, as the published code reads it."""
        return self.folder / "checkpoints" / f"encoder-{encoder}" / "moco" / "checkpoint.pth.tar"


def open_world(folder: Path) -> World:
    """Open what :func:`make_world` has made."""
    registry = load_registry()
    benchmark = load_benchmark(folder / "benchmarks.toml", registry)
    store = Store(folder / "store")
    store.prepare()
    return World(folder, store, make_plan(benchmark, {"drawn": "bench"}), registry)


def make_world(folder: Path, *, size: int, train: int, val: int, epochs: int, seeds: int) -> World:
    """Draw images, train encoders, and write both for the published code too.

    Args:
        folder: Where to; what is there already is not made again.
        size: Side of the images.
        train: Training images of each class.
        val: Validation images of each class.
        epochs: Of MoCo v2.
        seeds: Of each there is a poisoned and a clean encoder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    numbers = ", ".join(map(str, range(seeds)))
    text = _FILE.format(
        seeds=numbers, size=size, train=train, val=val, epochs=epochs, width=size // 4,
        classes=CLASSES, attack=ATTACK, target=TARGET,
    )  # fmt: skip
    (folder / "benchmarks.toml").write_text(text, encoding="utf-8")
    world = open_world(folder)
    for stage in world.plan.stages.values():
        first = stage.kind not in {StageKind.FEATURES, StageKind.FIT, StageKind.PREDICT}
        if first and world.store.record(stage.key) is None:
            world.run(stage)
    _write_images(world)
    for number in range(len(world.encoders)):
        _write_checkpoint(world, number)
    return world


def samples(world: World, split: str) -> Any:
    """Return the images of a split, train, val or triggered, as the harness has them."""
    from backbench.stages.inputs import Inputs
    from backbench.stages.task import Task

    stage = next(one for one in world.evaluation(0, "linear") if "poison" in one.inputs)
    task = Task(stage, world.store, world.folder, world.registry, "cpu", lambda *_: None)
    return getattr(Inputs(task), split)


def _write_images(world: World) -> None:
    from PIL import Image

    for split in SPLITS:
        images, lines = samples(world, split), []
        for number, label in enumerate(images.labels):
            path = world.folder / split / f"{number:05d}.png"
            path.parent.mkdir(exist_ok=True)
            if not path.exists():
                Image.fromarray(images.image(number)).save(path)
            lines.append(f"{path} {label}\n")
        world.list_file(split).write_text("".join(lines), encoding="utf-8")


def _write_checkpoint(world: World, number: int) -> None:
    import torch
    from safetensors.torch import load_file

    from backbench.nn.encoder import weights_in

    key = world.encoders[number].key
    tensors = load_file(weights_in(world.store.artifact(key)))
    prefix = "backbone.body."
    state = {
        f"module.encoder_q.{name.removeprefix(prefix)}": tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
    path = world.weights(number)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"state_dict": state}, path)
