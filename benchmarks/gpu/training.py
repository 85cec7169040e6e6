"""CIFAR-10 at the published size: the matrix of ``benchmarks/cifar10-published.toml``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

import backbench as bb
from backbench.data.embedded_classes import class_names
from backbench.plugin.registry import load_registry
from benchmarks.gpu.checks import until
from benchmarks.gpu.context import Context, SkippedError
from benchmarks.rounds import ROOT

BENCHMARK: Final = ROOT / "benchmarks" / "cifar10-published.toml"

#: Changes of the benchmark that try the command itself.
TINY: Final = (
    "datasets.cifar10.train_per_class=24",
    "datasets.cifar10.val_per_class=8",
    'methods.moco-v2.preset="small"',
    "methods.moco-v2.epochs=2",
    "methods.moco-v2.batch_size=24",
    "methods.moco-v2.queue=48",
    "methods.moco-v2.schedule.warmup_epochs=0",
    "evaluators.knn.k=[1]",
    "attacks.badencoder.epochs=1",
    "attacks.badencoder.batch_size=24",
    "defenses.distill.epochs=1",
    "defenses.distill.batch_size=16",
    "defenses.distill.queue=32",
    "defenses.decree.epochs=1",
    "benchmark.seeds=[0]",
)


def cifar10(context: Context) -> dict[str, Any]:
    """Run the matrix as far as the slice goes; the store keeps what is done.

    Raises:
        SkippedError: If there is no folder of images.
        KeyboardInterrupt: If the slice ends before.
    """
    images = _drawn(context.out / "images") if context.tiny else context.images
    if images is None:
        raise SkippedError("say where CIFAR-10 is as a folder of image files: --images FOLDER")
    changes = [f'datasets.cifar10.root="{images.absolute()}"', *(TINY if context.tiny else ())]
    store = context.out / "cifar10"
    experiment = bb.load(BENCHMARK, changes=changes, store=store)
    with until(context):
        run = experiment.run(store=store, device=context.device, executor="serial")
    assert not run.outcome.failed, {key: str(why) for key, why in run.outcome.failed.items()}
    planned = experiment.plan(store=store)
    records = [planned.store.record(key) for key in planned.plan.stages]
    seconds = sum(one.wall_s for one in records if one is not None)
    claims = [{"text": one.claim.text, "verdict": str(one.verdict)} for one in planned.claims()]
    return {"table": run.table("markdown"), "claims": claims, "hours": seconds / 3600}


def _drawn(folder: Path) -> Path:
    """Write a few images of the embedded world as the folder that CIFAR-10 would be."""
    if folder.exists():
        return folder
    values = {"classes": 3, "size": 32, "train_per_class": 24, "val_per_class": 8}
    registered = load_registry().find("dataset", "embedded")
    dataset = registered.implementation()(registered.info.options.model_validate(values))
    names: Mapping[int, str] = dict(enumerate(("frog", *class_names(3)[1:])))
    for split, name in (("train", "train"), ("val", "test")):
        images = dataset.load(split)
        for index, label in enumerate(np.asarray(images.labels).tolist()):
            path = folder / name / names[label] / f"{index:03d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(images.image(index)).save(path)
    return folder
