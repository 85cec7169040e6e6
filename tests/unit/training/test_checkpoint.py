"""A training that was stopped goes on as if it had not been: the same bits."""

from __future__ import annotations

import functools
import json
import logging
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tests.unit.conftest import make_small_images
from torch import nn

from backbench import errors
from backbench.images import ArrayImages
from backbench.nn import FeatureQueue, cpu
from backbench.plugin import CheckpointFile
from backbench.system import stopping
from backbench.system.seal import UNSEALED, is_sealed, seal
from backbench.training.loop import TrainingRun, pretrain
from backbench_ssl.byol import BYOL
from backbench_ssl.jigsaw import Jigsaw
from backbench_ssl.method_options import BYOLOptions, JigsawOptions, MoCoOptions, RotNetOptions
from backbench_ssl.moco import MoCo
from backbench_ssl.rotnet import RotNet

SMALL = {
    "backbone": {"name": "tiny-resnet", "widths": (8, 8), "strides": (2, 2), "stem_width": 8},
    "epochs": 4,
    "batch_size": 16,
    "last_batch": "keep",
    "checkpoint_minutes": 0,
    "knn_evaluations": 2,
}
FLAT = {"name": "constant", "milestones": (), "warmup_steps": 0}
SGD, ADAM = {"name": "sgd", "lr": 0.05}, {"name": "adam", "lr": 1e-3}
ADAMW, LARS = ADAM | {"name": "adamw"}, {"name": "lars", "lr": 1.0}

METHODS = {
    "moco-sgd": (
        MoCo,
        MoCoOptions,
        # a queue that a batch does not divide, so that its place matters
        {"queue": 40, "dim": 8, "norm_groups": 2, "optimizer": SGD, "momentum": 0.9},
    ),
    "moco-adam": (MoCo, MoCoOptions, {"queue": 40, "dim": 8, "optimizer": ADAM}),
    "byol-adam": (
        BYOL,
        BYOLOptions,
        {"dim": 8, "hidden": 16, "schedule": FLAT, "optimizer": ADAM, "norm_groups": 2},
    ),
    "jigsaw-sgd": (
        Jigsaw,
        JigsawOptions,
        {"resize": 0, "cell": 10, "tile": 8, "jitter": 2, "permutations": 8, "schedule": FLAT},
    ),
    "rotnet-sgd": (RotNet, RotNetOptions, {"schedule": FLAT, "optimizer": SGD}),
    "rotnet-adam": (RotNet, RotNetOptions, {"schedule": FLAT, "optimizer": ADAM}),
    "rotnet-adamw": (RotNet, RotNetOptions, {"schedule": FLAT, "optimizer": ADAMW}),
    "rotnet-lars": (RotNet, RotNetOptions, {"schedule": FLAT, "optimizer": LARS}),
}


class StoppedError(Exception):
    """The user has pulled the plug."""


@functools.cache
def undisturbed(name: str) -> tuple[Any, list[dict[str, float]]]:
    """Train a method without a stop; once for all tests, which only read it."""
    return train(name, make_small_images(), None)


def train(
    name: str,
    images: ArrayImages,
    path: Path | None,
    stop: int | None = None,
    code: str = "",
    **more: Any,
) -> tuple[Any, list[dict[str, float]]]:
    method, model, given = METHODS[name]
    epochs = 0

    def progress(_done: int, _total: int, values: Any) -> None:
        nonlocal epochs
        epochs += "loss" in values
        if epochs == stop:
            raise StoppedError

    chosen = model.model_validate(SMALL | given | more)
    file = path and CheckpointFile(path, {"plugin_code": code})
    return pretrain(method, TrainingRun(chosen, images, 2, "cpu", progress, checkpoint=file))


def same(one: nn.Module, other: nn.Module) -> bool:
    first, second = one.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(
        torch.equal(first[name], second[name]) for name in first
    )


def kept(path: Path) -> dict[str, Any]:
    """Return what a checkpoint holds besides its tensors."""
    with safe_open(path, framework="pt") as file:
        values: dict[str, Any] = json.loads(file.metadata()["backbench"])
    return values


@pytest.mark.parametrize("name", METHODS)
def test_a_stopped_training_goes_on_bit_by_bit(
    name: str, small_images: ArrayImages, tmp_path: Path
):
    whole, history = undisturbed(name)
    path = tmp_path / "checkpoints" / "key.safetensors"
    for stop in (1, 2):  # stopped after the first epoch, and again two epochs later
        with pytest.raises(StoppedError):
            train(name, small_images, path, stop)
    assert len(kept(path)["history"]) == 3
    encoder, again = train(name, small_images, path)
    assert again == history
    assert same(encoder, whole)
    assert [file.name for file in path.parent.iterdir()] == ["key.safetensors"]


@pytest.mark.parametrize("lost", ["queue.features", "queue._extra_state", "random.cpu"])
def test_a_part_that_is_missing_is_noticed(
    lost: str, small_images: ArrayImages, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    whole, history = undisturbed("moco-sgd")
    path = tmp_path / "key.safetensors"
    with pytest.raises(StoppedError):
        train("moco-sgd", small_images, path, 2)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    lost = lost if lost in tensors else f"model.{lost}"
    del tensors[lost]
    save_file(tensors, path, metadata | UNSEALED)
    seal(path)
    with caplog.at_level(logging.WARNING):
        encoder, again = train("moco-sgd", small_images, path)
    assert f"not used: it lacks '{lost}'; training starts anew" in caplog.text
    assert again == history
    assert same(encoder, whole)


def damaged(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) * 2 // 3] ^= 1
    path.write_bytes(content)


def strange(path: Path) -> None:
    save_file({"weight": torch.zeros(3)}, path)


@pytest.mark.parametrize("harm", [damaged, empty, flipped, strange])
def test_a_damaged_file_is_not_used(
    harm: Any, small_images: ArrayImages, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    whole, _ = undisturbed("rotnet-sgd")
    path = tmp_path / "key.safetensors"
    with pytest.raises(StoppedError):
        train("rotnet-sgd", small_images, path, 2)
    harm(path)
    with caplog.at_level(logging.WARNING):
        encoder, history = train("rotnet-sgd", small_images, path)
    assert f"{path}: not used: " in caplog.text
    assert len(history) == 4
    assert same(encoder, whole)


def test_no_bit_of_a_checkpoint_can_change_unnoticed(small_images: ArrayImages, tmp_path: Path):
    path = tmp_path / "key.safetensors"
    with pytest.raises(StoppedError):
        train("rotnet-sgd", small_images, path, 1)
    assert is_sealed(path)
    content = path.read_bytes()
    checksum = content.index(b'"sha256":"') + 10
    for place in (0, 9, checksum, checksum + 63, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        assert not is_sealed(path)
    path.write_bytes(content.replace(b"sha256", b"sha257", 1))
    with pytest.raises(ValueError, match="no checksum"):
        is_sealed(path)


def test_another_trainings_state_is_not_used(
    small_images: ArrayImages, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    path = tmp_path / "key.safetensors"
    with pytest.raises(StoppedError):
        train("rotnet-sgd", small_images, path, 2)
    with caplog.at_level(logging.WARNING):
        encoder, _ = train("rotnet-sgd", small_images, path, optimizer={"lr": 0.06})
    assert "it belongs to another training" in caplog.text
    whole, _ = train("rotnet-sgd", small_images, None, optimizer={"lr": 0.06})
    assert same(encoder, whole)


def test_a_state_that_other_code_made_is_not_used(
    small_images: ArrayImages, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    path = tmp_path / "key.safetensors"
    for code in ("before", "now"):
        with pytest.raises(StoppedError):
            train("rotnet-sgd", small_images, path, 2, code=code)
        assert len(kept(path)["history"]) == 2
    assert caplog.text.count("it belongs to another training; training starts anew") == 1


def test_a_state_of_another_arithmetic_is_not_used(
    small_images: ArrayImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The machine that goes on may have no bf16, and the record names one precision."""
    path = tmp_path / "key.safetensors"
    resolved = []
    for native in (True, False):
        monkeypatch.setattr(cpu, "has_bf16", lambda native=native: native)
        with pytest.raises(StoppedError):
            train("rotnet-sgd", small_images, path, 2, precision="auto")
        assert len(kept(path)["history"]) == 2
        resolved.append(kept(path)["identity"]["precision"])
    assert resolved == ["bf16", "fp32"]


def test_what_changes_no_number_may_change_in_between(small_images: ArrayImages, tmp_path: Path):
    path = tmp_path / "key.safetensors"
    with pytest.raises(StoppedError):
        train("rotnet-sgd", small_images, path, 2)
    calls: list[tuple[int, dict[str, float]]] = []
    method, model, given = METHODS["rotnet-sgd"]
    chosen = model.model_validate(SMALL | given | {"checkpoint_minutes": 1000.0})

    def note(done: int, _total: int, values: Any) -> None:
        calls.append((done, dict(values)))

    file = CheckpointFile(path, {"plugin_code": ""})
    pretrain(method, TrainingRun(chosen, small_images, 2, "cpu", note, checkpoint=file))
    assert calls[0] == (6, {"resumed": 2.0})  # epochs of three steps each, not done again
    assert min(done for done, _ in calls[1:]) > 6
    assert calls[-1][0] == 12


def test_between_two_writings_time_passes(small_images: ArrayImages, tmp_path: Path):
    path = tmp_path / "key.safetensors"
    train("rotnet-sgd", small_images, path, checkpoint_minutes=1000.0)
    assert not path.exists()
    train("rotnet-sgd", small_images, path)
    assert path.exists()


def test_a_training_that_is_asked_to_stop_ends_at_a_checkpoint(
    small_images: ArrayImages, tmp_path: Path
):
    """Whatever the time since the last one; another try has the bits of a training without stop."""
    path = tmp_path / "key.safetensors"
    stopping.request()
    try:
        with pytest.raises(errors.StoppedError, match="its checkpoint is of epoch 1"):
            train("rotnet-sgd", small_images, path, checkpoint_minutes=1000.0)
    finally:
        stopping.withdraw()
    whole, history = undisturbed("rotnet-sgd")
    encoder, again = train("rotnet-sgd", small_images, path)
    assert again == history
    assert same(encoder, whole)


def test_the_scale_of_gradients_is_kept(
    small_images: ArrayImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """As on a GPU, but that the processor is slow at it; and the scale grows at every step."""
    for module in ("device", "loop"):
        name = f"backbench.training.{module}.resolve_precision"
        monkeypatch.setattr(name, lambda *_: "fp16")
    growing = partial(torch.amp.GradScaler, init_scale=4.0, growth_interval=1)
    monkeypatch.setattr("torch.amp.GradScaler", growing)
    path, other = tmp_path / "key.safetensors", tmp_path / "whole.safetensors"
    whole, history = train("rotnet-sgd", small_images, other, epochs=2)
    with pytest.raises(StoppedError):
        train("rotnet-sgd", small_images, path, 1, epochs=2)
    assert kept(path)["scaler"]["scale"] == 4.0 * 2**3
    encoder, again = train("rotnet-sgd", small_images, path, epochs=2)
    assert same(encoder, whole)
    assert again == history
    assert kept(path)["scaler"] == kept(other)["scaler"]
    assert kept(path)["scaler"]["scale"] == 4.0 * 2**3


def test_a_queue_comes_back_with_its_place():
    queue, again = FeatureQueue(7, 3), FeatureQueue(7, 3)
    queue.push(torch.rand(5, 3))
    again.load_state_dict(queue.state_dict())
    new = torch.rand(4, 3)
    queue.push(new)
    again.push(new)
    assert torch.equal(queue.features, again.features)


def test_state_that_cannot_be_kept_is_told_before_the_training(
    small_images: ArrayImages, tmp_path: Path
):
    class Hoarder(RotNet):
        def get_extra_state(self) -> Any:
            return {"a": "dictionary"}

    chosen = RotNetOptions.model_validate(SMALL | {"schedule": FLAT})
    run = TrainingRun(
        chosen,
        small_images,
        0,
        "cpu",
        lambda *_: pytest.fail("it has begun"),
        checkpoint=CheckpointFile(tmp_path / "key.safetensors"),
    )
    with pytest.raises(TypeError, match="must be a tensor"):
        pretrain(Hoarder, run)
