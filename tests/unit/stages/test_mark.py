"""Encoders with a backdoor say so in the name, the header and the page of their files."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from tests.conftest import tiny

from backbench.benchmark.config import load_benchmark
from backbench.benchmark.planning import make_plan
from backbench.external.importing import inspect
from backbench.external.reader import content_of, weights_file
from backbench.model import Stage, StageKind
from backbench.nn import Encoder, EncoderSpec, load_encoder, save_encoder
from backbench.nn.encoder import mark_of, weights_in
from backbench.options.backbones import BackboneOptions
from backbench.plugin.registry import load_registry
from backbench.stages.run import run_stage
from backbench.stages.task import Outcome, Task
from backbench.store.metadata import EncoderRecord, RepairRecord
from backbench.store.store import Store

SPEC = EncoderSpec(
    BackboneOptions(name="tiny-resnet").model_dump(mode="json"), 32, *[(0.5,) * 3] * 2
)


def untrained(task: Task) -> Outcome:
    """Write an encoder as a training or a repair does, without either."""
    save_encoder(task.folder, Encoder(SPEC), task.mark)
    return Outcome(RepairRecord() if task.stage.kind is StageKind.REPAIR else EncoderRecord(96))


def test_every_encoder_that_comes_from_a_poison_is_marked(tmp_path: Path) -> None:
    path = tmp_path / "b.toml"
    path.write_text(tiny(), encoding="utf-8")
    plan = make_plan(load_benchmark(path, load_registry()), {"drawn": "content"})
    store = Store(tmp_path / "store")
    store.prepare()
    encoders = {StageKind.PRETRAIN, StageKind.REPAIR}
    marks: dict[str, str] = {}
    for stage in plan.stages.values():
        if stage.kind in {StageKind.DATASET, StageKind.POISON, *encoders}:
            run = untrained if stage.kind in encoders else None
            run_stage(stage, store, load_registry(), "cpu", lambda *_: None, run=run)
        if stage.kind in encoders:
            folder = store.artifact(stage.key)
            marks[stage.label] = mark = mark_of(weights_in(folder))
            assert load_encoder(folder).spec == SPEC
            assert ("backdoored" in weights_in(folder).name) == bool(mark)
            assert json.loads((folder / "encoder.json").read_text()).get("backdoored", "") == mark
            page = folder / "BACKDOORED.md"
            assert mark in page.read_text() if mark else not page.exists()
    assert len(marks) == 8
    for label, mark in marks.items():
        assert bool(mark) == (" targeted " in label), label
        if mark:
            assert mark.startswith(
                "it was trained on 24 images poisoned by the attack patch, target"
            )


def test_an_import_keeps_the_mark_and_a_stranger_s_mark_is_plain_text(tmp_path: Path) -> None:
    (tmp_path / "e").mkdir()
    save_encoder(tmp_path / "e", Encoder(SPEC), "the attack x\x1b[2J has changed its weights")
    weights = weights_file(tmp_path / "e")
    assert weights.name == "encoder-backdoored.safetensors"
    use = inspect(tmp_path / "e")[0].use()
    stage = Stage(StageKind.IMPORT, use, None, content=content_of(weights))
    store = Store(tmp_path / "store")
    store.prepare()
    run_stage(stage, store, load_registry(), "cpu", lambda *_: None)
    assert mark_of(weights_in(store.artifact(stage.key))) == (
        r"the attack x\x1b[2J has changed its weights"
    )
    torch.save({}, tmp_path / "w.pth")
    assert mark_of(tmp_path / "w.pth") == ""
