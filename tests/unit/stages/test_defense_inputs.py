"""What a defense is given leads neither to the poison nor to the encoder's first weights."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.conftest import tiny

from backbench.benchmark.config import load_benchmark
from backbench.benchmark.planning import make_plan
from backbench.errors import StageError
from backbench.images import ArrayImages
from backbench.model import StageKind
from backbench.nn import Encoder, EncoderSpec, GuardedMethod, save_encoder
from backbench.plugin import Defense, DefenseInfo
from backbench.plugin.registry import load_registry
from backbench.seeds import derive
from backbench.stages import pretrain, repair, sanitize
from backbench.stages.changing import STATISTICS_ALONE
from backbench.stages.defender import Request, context_of
from backbench.stages.inputs import Inputs
from backbench.stages.task import Task
from backbench.store.flags import Flag
from backbench.store.store import Store
from backbench.testing import TrainingDefenseContract


@pytest.fixture
def task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Task:
    """Return a repair stage of the tiny benchmark, with 20 images for a training set."""
    registry = load_registry()
    path = tmp_path / "b.toml"
    path.write_text(tiny(), encoding="utf-8")
    plan = make_plan(load_benchmark(path, registry), {"drawn": "content"})
    stage = next(one for one in plan.stages.values() if one.kind == StageKind.REPAIR)
    pixels = np.arange(20, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 3), np.uint8)
    images = ArrayImages(pixels, np.zeros(20, np.int64), [str(i) for i in range(20)])
    monkeypatch.setattr(Inputs, "train", images)
    return Task(stage, Store(tmp_path / "s"), tmp_path, registry, "cpu", lambda *_: None)


def test_the_seed_is_nobody_elses(task: Task) -> None:
    seed = context_of(task, Request()).seed
    assert seed == derive(task.seed, "defense")
    assert seed != task.seed


def test_the_same_fraction_is_the_same_images(task: Task) -> None:
    one, two = (context_of(task, Request()).clean(0.5).images for _ in range(2))
    assert one.sources == two.sources
    assert len(one) == 10
    smaller = context_of(task, Request()).clean(0.25).images
    assert set(smaller.sources) < set(one.sources)


def test_a_defense_on_the_data_gets_no_clean_twin_of_a_poison(task: Task) -> None:
    trusted = np.arange(5, 20)
    context = context_of(task, Request(), trusted=trusted, most=sanitize.MOST_CLEAN)
    given = {int(source) for source in context.clean(0.5).images.sources}
    assert len(given) == 10
    assert given <= set(trusted.tolist())
    with pytest.raises(StageError, match=r"lies in \(0, 0.5\], not 0.6"):
        context.clean(0.6)


def with_poison(task: Task) -> Task:
    """Return the stage with a poison of the images 3 and 7."""
    key = "f" * 32
    folder = task.store.artifact(key)
    folder.mkdir(parents=True)
    mark = {"source": "", "label": 0, "before": "", "after": "", "boxes": [[0, 0, 1, 1]]}
    lines = [json.dumps({**mark, "index": i, "opacity": 1.0, "seed": 0}) for i in (3, 7)]
    (folder / "train.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return replace(task, stage=replace(task.stage, inputs={**task.stage.inputs, "poison": key}))


def test_the_manifest_says_who_is_not_trusted(task: Task) -> None:
    assert np.flatnonzero(sanitize.poison_mask(with_poison(task), 10)).tolist() == [3, 7]
    assert not sanitize.poison_mask(task, 10).any()


def put_encoder(task: Task) -> None:
    """Write the encoder that the stage reads."""
    folder = task.input("encoder")
    folder.mkdir(parents=True)
    backbone = {"name": "tiny-resnet", "widths": [4], "strides": [1], "stem_width": 4}
    save_encoder(folder, Encoder(EncoderSpec(backbone, 4, (0.5,) * 3, (0.25,) * 3)))


class Repairs(Defense):
    """Gives what its options make of the encoder."""

    def repair(self, encoder, context):
        return self.options(encoder)


def with_another_mean(encoder: Encoder) -> Encoder:
    changed = copy.deepcopy(encoder)
    next(one for name, one in changed.named_buffers() if name.endswith("running_mean")).add_(1)
    return changed


def doubled(encoder: Encoder) -> Encoder:
    changed = copy.deepcopy(encoder)
    with torch.no_grad():
        next(changed.parameters()).mul_(2)
    return changed


@pytest.mark.parametrize(
    ("change", "flags"),
    [
        (copy.deepcopy, (repair.UNCHANGED,)),
        (with_another_mean, (STATISTICS_ALONE,)),
        (doubled, ()),
    ],
)
def test_a_repair_that_changes_no_weight_is_flagged(
    task: Task, monkeypatch: pytest.MonkeyPatch, change: Any, flags: tuple[Flag, ...]
) -> None:
    put_encoder(task)
    monkeypatch.setattr(Task, "plugin", lambda _: (Repairs, change, None))
    assert repair.run(task).flags == flags


class Suspicious(Defense):
    """Asks for clean images twice, and drops the images that its options name."""

    def sanitize(self, encoder, images, context):
        context.clean(0.1)
        context.clean(0.25)
        return np.where(np.isin(np.arange(len(images)), self.options), 1.0, -1.0)


@pytest.mark.parametrize(("named", "flags"), [([], (sanitize.NOTHING_DROPPED,)), ([3], ())])
def test_a_defense_that_drops_nothing_is_flagged(
    task: Task, monkeypatch: pytest.MonkeyPatch, named: list[int], flags: tuple[Flag, ...]
) -> None:
    monkeypatch.setattr(Inputs, "poisoned_train", Inputs(task).train)
    monkeypatch.setattr(Task, "plugin", lambda _: (Suspicious, named, None))
    put_encoder(task)
    assert sanitize.run(task).flags == flags


class Guards(Defense):
    """Wraps the method if its options say so."""

    def guard(self, method, context):
        return GuardedMethod(method) if self.options else method


class PassesOn(Defense):
    def guard(self, method, context):
        return method


class Kit(TrainingDefenseContract):
    __test__ = False
    info = DefenseInfo(name="guards", summary="G.", target="a:A", acts_on="training")

    def settings(self):
        return None

    def implementation(self):
        return PassesOn


@pytest.mark.parametrize("wraps", [True, False])
def test_a_guard_that_gives_back_the_method_is_noted(
    task: Task, monkeypatch: pytest.MonkeyPatch, wraps: bool
) -> None:
    monkeypatch.setattr(Task, "guard", lambda _: (Guards, wraps, None))
    request = Request()
    guard = pretrain.guard_of(Inputs(task), request)
    assert guard is not None
    with Kit().method() as (method, _):
        guard(method)
    assert request.idle is not wraps


@pytest.mark.parametrize("poisoned", [True, False])
def test_scores_are_held_against_the_manifest(
    task: Task, monkeypatch: pytest.MonkeyPatch, poisoned: bool
) -> None:
    monkeypatch.setattr(Inputs, "poisoned_train", Inputs(task).train)
    monkeypatch.setattr(Task, "plugin", lambda _: (Suspicious, [3, 5], None))
    put_encoder(task)
    task = with_poison(task) if poisoned else task
    outcome = sanitize.run(task)
    found = outcome.metadata
    assert (found.images, found.dropped, found.clean_fraction) == (20, 2, 0.25)
    assert found.detection["detection/clean_lost"] == (1 if poisoned else 2)
    assert found.detection.get("detection/recall") == (0.5 if poisoned else None)
    assert ("detection/auroc" in found.detection) == poisoned
