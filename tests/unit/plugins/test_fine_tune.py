"""Fine-tuning: the copy of the encoder learns, and the encoder stays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file
from tests.conftest import tiny

from backbench.benchmark.config import load_benchmark
from backbench.benchmark.planning import make_plan
from backbench.images import ArrayImages
from backbench.model import StageKind
from backbench.nn import Encoder
from backbench.plugin import EvaluationContext
from backbench.plugin.registry import load_registry
from backbench.stages.run import run_stage
from backbench.store.store import Store
from backbench.testing.samples import same_weights, tiny_encoder
from backbench_evaluators.evaluator_options import FineTuneOptions
from backbench_evaluators.fine_tune import FineTune

PLAIN = {"flip": 0, "scale": (1, 1), "ratio": (1, 1)}


def images(count: int = 12) -> ArrayImages:
    rng = np.random.default_rng(0)
    labels = np.arange(count, dtype=np.int64) % 3
    pixels = rng.integers(0, 80, (count, 32, 32, 3), dtype=np.uint8)
    pixels[np.arange(count), ..., labels] += 120
    return ArrayImages(pixels, labels, [f"train/{index}" for index in range(count)])


def tuned(encoder: Encoder, **options: object) -> FineTune:
    given = {"label_fraction": 1.0, "batch_size": 12, "precision": "fp32", "views": PLAIN}
    settings = FineTuneOptions.model_validate(given | options)
    evaluator = FineTune(settings, EvaluationContext(3, "cpu", 3, lambda *_: None))
    evaluator.fit(encoder, images())
    return evaluator


def test_a_step_is_that_of_the_cross_entropy_through_encoder_and_classifier() -> None:
    """One step of SGD on all images, written out: the logits move by the gradient of the loss."""
    torch.manual_seed(0)
    encoder = tiny_encoder()
    rate = 1e-3
    options = {"epochs": 1, "schedule": {"name": "constant"}}
    states = [
        tuned(encoder, optimizer={"lr": lr, "momentum": 0, "nesterov": False}, **options).state()
        for lr in (1e-12, rate)  # the weights of the start, and after the step
    ]
    start, after = ({name: torch.from_numpy(one.copy()) for name, one in s.items()} for s in states)
    network = tiny_encoder()
    network.load_state_dict(encoder.state_dict())
    network.train()
    weight, bias = start["weight"].requires_grad_(), start["bias"].requires_grad_()
    pixels = torch.from_numpy(images().pixels.copy()).permute(0, 3, 1, 2).float() / 255
    logits = network(pixels) @ weight.T + bias
    own = logits[torch.arange(12), torch.from_numpy(images().labels.copy())]
    (logits.exp().sum(1).log() - own).mean().backward()
    for name, parameter in (("weight", weight), ("bias", bias)):
        expected = parameter.detach() - rate * parameter.grad
        assert torch.allclose(after[name], expected, rtol=1e-4, atol=1e-7), name
    for name, parameter in network.named_parameters():
        before = encoder.state_dict()[name]
        expected = before - rate * parameter.grad
        assert torch.allclose(after[f"encoder.{name}"], expected, rtol=1e-3, atol=1e-6), name
        assert not torch.equal(after[f"encoder.{name}"], before), name


def test_the_encoder_that_was_given_stays() -> None:
    encoder = tiny_encoder()
    evaluator = tuned(encoder, epochs=2)
    assert same_weights(encoder, tiny_encoder())
    scores = evaluator.predict(encoder, images())
    assert scores.shape == (12, 3)
    assert same_weights(encoder, tiny_encoder())


@pytest.mark.parametrize("state", [{}, {"weight": np.ones((3, 4)), "bias": np.ones(3)}])
def test_what_is_no_tuned_encoder_is_not_restored(state: dict[str, np.ndarray]) -> None:
    context = EvaluationContext(3, "cpu", 3, lambda *_: None)
    with pytest.raises(ValueError, match=r"missing: bias, weight|holds no encoder"):
        FineTune(FineTuneOptions(), context).restore(state)


def test_batches_larger_than_the_labelled_images_are_a_problem(tiny_file: Path) -> None:
    metadata = load_benchmark(tiny_file, load_registry()).metadata["drawn"]
    (found,) = FineTuneOptions(label_fraction=0.1).problems(metadata)
    assert found == "batch_size = 256 is more than the 8 training images: set it to at most 8"


LISTED = """
[evaluators.knn]
k = 1
labels = "labelled.txt"

[evaluators.fine-tune]
batch_size = 4
epochs = 1
labels = "labelled.txt"

[[matrix]]
datasets = ["drawn"]
attacks = ["targeted"]
methods = ["rotnet"]
evaluators = ["fine-tune", "knn"]
"""


def test_listed_labels_and_a_tuned_encoder_go_through_the_stages(tmp_path: Path) -> None:
    file = tmp_path / "benchmarks.toml"
    text = (
        tiny()
        .partition("[[matrix]]")[0]
        .replace("epochs = 2\nbatch_size = 32", "epochs = 0\nbatch_size = 32")
    )
    file.write_text(text + LISTED, encoding="utf-8")
    listed = tmp_path / "labelled.txt"
    listed.write_text("\n".join(f"train/{index:06d}" for index in range(0, 96, 12)), "utf-8")
    registry = load_registry()
    plan = make_plan(load_benchmark(file, registry), {"drawn": "content"})
    store = Store(tmp_path / "store")
    store.prepare()
    for stage in plan.stages.values():
        run_stage(stage, store, registry, "cpu", lambda *_: None)
    fits = [
        (key, stage)
        for key, stage in plan.stages.items()
        if stage.kind is StageKind.FIT and stage.plugin and stage.plugin.name == "fine-tune"
    ]
    marks = []
    for key, _ in fits:
        record = store.record(key)
        assert record
        assert record.report.keys() == {"labelled", "loss"}
        assert record.report["labelled"] == 8
        path = store.artifact(key) / "classifier.safetensors"
        assert {"weight", "bias"} < set(load_file(path))
        with safe_open(path, "np") as opened:
            marks.append(bool((opened.metadata() or {}).get("backdoored")))
    assert sorted(marks) == [False, True]  # the control's, and that of the backdoored encoder
    listed.write_text("train/000001\ntrain/000002\ntrain/000003\ntrain/000004", "utf-8")
    again = make_plan(load_benchmark(file, registry), {"drawn": "content"})
    assert not {key for key, _ in fits} & again.stages.keys()  # other labels, another key
