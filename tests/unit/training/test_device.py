from __future__ import annotations

from typing import Any

import pytest
import torch

from backbench.errors import UsageError
from backbench.nn import Encoder, EncoderSpec
from backbench.options.training import TrainingOptions
from backbench.training.device import (
    arithmetic,
    autocast,
    resolve_device,
    resolve_precision,
    to_device,
)


def gpus(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


@pytest.fixture(params=[True, False], ids=["bf16", "no-bf16"])
def native(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Return whether the processor has bfloat16: once it has, once it has not."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": request.param})
    return bool(request.param)


@pytest.mark.parametrize(
    ("name", "count", "expected"),
    [
        ("auto", 0, "cpu"),
        ("auto", 2, "cuda:0"),
        ("cpu", 2, "cpu"),
        ("cuda", 1, "cuda:0"),
        ("cuda:1", 2, "cuda:1"),
    ],
)
def test_names(name: str, count: int, expected: str, monkeypatch: pytest.MonkeyPatch):
    gpus(monkeypatch, count)
    assert resolve_device(name) == expected


@pytest.mark.parametrize(
    ("name", "words"),
    [("cuda", "0 CUDA devices"), ("tpu", "say 'auto'"), ("cuda:x", "say"), ("", "say")],
)
def test_names_that_are_not(name: str, words: str, monkeypatch: pytest.MonkeyPatch):
    gpus(monkeypatch, 0)
    with pytest.raises(UsageError, match=words):
        resolve_device(name)


def test_precision(native: bool):
    cpu = torch.device("cpu")
    assert resolve_precision("auto", cpu) == ("bf16" if native else "fp32")

    def product(precision):
        with autocast(precision, cpu):
            return (torch.ones(2, 2) @ torch.ones(2, 2)).dtype

    assert product("auto") == (torch.bfloat16 if native else torch.float32)
    assert product("bf16") == torch.bfloat16
    assert product("fp32") == torch.float32


def test_layout():
    module = to_device(torch.nn.Conv2d(4, 4, 3), torch.device("cpu"))
    assert module.weight.is_contiguous(memory_format=torch.channels_last)


def test_half_precision_needs_a_gpu():
    with pytest.raises(UsageError, match="'fp16' needs a GPU, and the device is cpu"):
        resolve_precision("fp16", torch.device("cpu"))
    assert resolve_precision("fp16", torch.device("cuda:1")) == "fp16"
    assert resolve_precision("bf16", torch.device("cpu")) == "bf16"


def test_what_is_left_open_is_resolved_and_recorded(native: bool):
    cpu = torch.device("cpu")
    encoder = Encoder(EncoderSpec({"name": "resnet18"}, 32, (0.5,) * 3, (0.5,) * 3)).eval()
    found = arithmetic(TrainingOptions(), cpu, encoder)
    assert found["precision"] == ("bf16" if native else "fp32")
    options = TrainingOptions(channels_last=False, compile=True, precision="fp32")
    assert arithmetic(options, cpu, encoder, devices=2) == {
        "precision": "fp32",
        "compile": True,
        "layout": "channels first",
        "devices": 2,
        "threads": 1,
        "deterministic": False,
    }
    on_gpu = arithmetic(options, torch.device("cuda"), encoder)
    assert {"cudnn_tf32", "matmul_precision"} < on_gpu.keys()


def test_the_layout_is_recorded_as_it_was(native: bool):
    cpu = torch.device("cpu")

    def layout(name: str, **given: Any) -> str:
        encoder = Encoder(EncoderSpec({"name": name}, 32, (0.5,) * 3, (0.5,) * 3)).eval()
        return str(arithmetic(TrainingOptions(**given), cpu, encoder)["layout"])

    assert layout("resnet18") == ("oneDNN" if native else "channels last")
    assert layout("resnet18", precision="bf16") == ("oneDNN" if native else "channels last")
    assert layout("resnet18", precision="fp32") == "channels last"
    assert layout("resnet18", compile=True) == "channels last"
    assert layout("resnet18", channels_last=True) == "channels last"
    assert layout("tiny-resnet") == "channels last"
