from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from backbench.estimate import choices as module
from backbench.estimate.choices import choice, choices, has_bf16
from backbench.options.training import SSLOptions


def training(size: tuple[int, int] | None = (32, 32), images: int = 50_000, **given: Any) -> Any:
    options = SSLOptions.model_validate(given)
    return SimpleNamespace(
        options=options,
        backbone=options.backbone,
        images=images,
        metadata=SimpleNamespace(size=size),
    )


@pytest.mark.parametrize(
    ("described", "expected"),
    [
        ("processor : 0\nflags : fpu avx512_bf16 sse\n", True),
        ("flags\t: fpu amx_bf16\n", True),
        ("Features : fp asimd bf16\n", False),  # torch is not asked for it there
        ("flags : fpu avx512f\nmodel name : avx512_bf16\n", False),
        ("", False),
    ],
)
def test_a_processor_says_whether_it_has_bf16(described: str, expected: bool):
    assert has_bf16(described) is expected


def test_what_auto_picks(tmp_path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "cpuinfo").write_text("flags : avx512_bf16\n")
    monkeypatch.setattr(module, "_PROCESSOR", tmp_path / "cpuinfo")
    picked = "bf16 (auto), oneDNN's layout (auto), not compiled; images in memory"
    assert choice(training(), gpu=False) == picked
    others = [{"backbone": {"name": name}} for name in ("tiny-resnet", "timm/resnet18")]
    for given in (*others, {"precision": "fp32"}, {"compile": True}):
        assert "channels last (auto)" in choice(training(**given), gpu=False)
    assert "channels last (auto)" in choice(training(), gpu=True)
    assert "channels last, " in choice(training(channels_last=True), gpu=False)
    monkeypatch.setattr(module, "_PROCESSOR", tmp_path / "nowhere")
    assert choice(training(precision="bf16"), gpu=False).startswith("bf16, channels last (auto)")
    assert choice(training(), gpu=False).startswith("fp32 (auto)")
    assert choice(training(), gpu=True).startswith("bf16 where the GPU has it (auto)")


def test_what_is_forced():
    forced = training(precision="fp32", channels_last=False, compile=True)
    assert choice(forced, gpu=False) == "fp32, channels first, compiled; images in memory"


@pytest.mark.parametrize("one", [training(size=None), training(size=(512, 512))])
def test_large_sets_and_photographs_are_read_from_files(one: Any):
    assert choice(one, gpu=True).endswith("images read from files, batch by batch")


def test_a_line_for_each_way():
    lines = choices(
        {"moco-v2": [training(), training(precision="fp32"), training()]}, gpu=False, cores=2
    )
    assert [name for name, _ in lines] == ["workers", "moco-v2", "moco-v2"]
    assert lines[0][1].startswith("2, each 1 thread")
