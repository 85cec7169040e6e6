"""The stealth in a poison's record: of images that are replaced, and of triggered ones."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conftest import tiny

from backbench.benchmark.config import load_benchmark
from backbench.benchmark.planning import plan_of
from backbench.model import StageKind
from backbench.plugin import Attack, AttackInfo, Box, Part, Recipe, Stamp, hookimpl
from backbench.plugin.packages import Origin
from backbench.plugin.registry import Registry, load_registry
from backbench.poison.stealth import psnr, ssim
from backbench.stages.inputs import Inputs
from backbench.stages.run import run_stage
from backbench.stages.task import Task
from backbench.store.records import Record
from backbench.store.store import Store

FAINT, STRONG = 4, 32


class Replacing(Attack):
    """Adds a level to two images, a larger level to validation images."""

    target = 1

    def choose(self, labels: Any, rng: Any) -> Any:
        del rng
        return np.flatnonzero(labels == 1)[:2]

    def stamp(self, image: Any, rng: Any, split: Any) -> Stamp:
        del rng
        added = image.astype(int) + (FAINT if split == "train" else STRONG)
        whole = Box(0, 0, image.shape[1], image.shape[0])
        return Stamp(np.minimum(added, 255).astype(np.uint8), whole, opacity=1.0)

    def report(self) -> dict[str, float]:
        return {"level": FAINT}


class Mixed(Replacing):
    """Replaces two images, the second by a wider image, and adds one."""

    def recipes(self, context: Any, rng: Any) -> Iterable[Recipe]:
        one, other = map(int, self.choose(context.labels("train"), rng))
        yield Recipe((Part("train", one),), replaces=one)
        yield Recipe((Part("train", other), Part("train", one)), replaces=other)
        yield Recipe((Part("train", other),), replaces=None)

    def compose(self, parts: Any, rng: Any) -> Stamp:
        stamp = self.stamp(parts[0], rng, "train")
        pixels = np.concatenate([stamp.pixels, *parts[1:]], axis=1)
        return stamp._replace(pixels=pixels)


class Adding(Mixed):
    """Adds an image, and replaces none."""

    def recipes(self, context: Any, rng: Any) -> Iterable[Recipe]:
        return list(super().recipes(context, rng))[2:]


class Plugin:
    @hookimpl
    def register_attacks(self) -> Iterable[AttackInfo]:
        for kind in (Replacing, Mixed, Adding):
            yield AttackInfo(
                name=kind.__name__.lower(), summary="Adds.", target=f"{__name__}:{kind.__name__}"
            )


def poisoned(folder: Path, attack: str) -> tuple[Record, Inputs]:
    """Poison the tiny dataset; return the record, and the images."""
    registry: Registry = load_registry()
    registry.add(Plugin(), Origin("other", "1.0", "other"))
    before, after = tiny().split("[attacks.targeted]")[0], tiny().split("[methods.moco-v2]")[1]
    text = f'{before}[attacks.targeted]\nplugin = "{attack}"\n[methods.moco-v2]{after}'
    (folder / "b.toml").write_text(text, encoding="utf-8")
    store = Store(folder / "store")
    store.prepare()
    plan = plan_of(load_benchmark(folder / "b.toml", registry), store, keep_hashes=False)
    for stage in plan.stages.values():
        if stage.kind in {StageKind.DATASET, StageKind.POISON}:
            run_stage(stage, store, registry, "cpu", lambda *_: None)
        if stage.kind is StageKind.POISON:
            poison = stage
    record = store.record(poison.key)
    assert record is not None
    task = Task(poison, store, folder, registry, "cpu", lambda *_: None)
    return record, Inputs(task)


def raised(image: np.ndarray, level: int) -> np.ndarray:
    return np.minimum(image.astype(int) + level, 255).astype(np.uint8)


@pytest.mark.parametrize(("attack", "counted"), [("replacing", 2), ("mixed", 1), ("adding", 0)])
def test_poisons_that_replace_an_image_of_their_size_are_compared(
    tmp_path: Path, attack: str, counted: int
) -> None:
    record, inputs = poisoned(tmp_path, attack)
    chosen = np.flatnonzero(inputs.train.labels == 1)[:counted]
    images = {
        "poison": [(inputs.train.image(index), FAINT) for index in chosen],
        "trigger": [(inputs.val.image(index), STRONG) for index in range(len(inputs.val))],
    }
    expected = {"level": float(FAINT)}
    for name, before in images.items():
        for metric, of in {"psnr": psnr, "ssim": ssim}.items():
            if before:
                values = [of(image, raised(image, level)) for image, level in before]
                expected[f"{name}_{metric}"] = float(np.mean(values))
    assert record.report == pytest.approx(expected)
