"""A stranger's file is read, and nothing in it is run."""

from __future__ import annotations

import argparse
import os
import pickle  # noqa: TID251 - the hostile file is made with it
import warnings
from collections import Counter, OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from backbench.errors import UsageError
from backbench.external.reader import check_safetensors, read_checkpoint, weights_file


class Hostile:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch '{self.path}'",)


def refusal(path: Path) -> str:
    with pytest.raises(UsageError) as caught:
        read_checkpoint(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    return text


@pytest.mark.parametrize("form", ["zip", "legacy", "bare"])
def test_a_hostile_pickle_is_refused_and_does_nothing(tmp_path: Path, form: str) -> None:
    mark, path = tmp_path / "owned", tmp_path / "w.pth.tar"
    content = {"state_dict": {"conv1.weight": torch.ones(1)}, "epoch": Hostile(mark)}
    if form == "bare":
        path.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
    text = refusal(path)
    assert "holds more than weights" in text
    assert "nothing of it was run" in text
    assert not mark.exists()
    if form == "bare":
        pickle.loads(path.read_bytes())
    else:
        torch.load(path, weights_only=False)  # noqa: TID251 - to see that it is hostile indeed
    assert mark.exists()


@pytest.mark.parametrize(
    ("content", "asked"),
    [
        ({"args": argparse.Namespace(lr=0.1)}, "argparse.Namespace"),
        ({"best_acc1": np.float64(71.2)}, "numpy"),
        (torch.nn.Linear(2, 2), "torch.nn.modules.linear.Linear"),
    ],
    ids=["namespace", "numpy", "module"],
)
def test_what_else_a_pickle_asks_for_is_named(tmp_path: Path, content: Any, asked: str) -> None:
    torch.save(content, tmp_path / "w.pt")
    text = refusal(tmp_path / "w.pt")
    assert f"its pickle asks for {asked}" in text
    assert "save its state dict alone" in text


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_plain_containers_are_read(tmp_path: Path, zipped: bool) -> None:
    content = {
        "epoch": 3,
        "arch": "resnet18",
        "state_dict": OrderedDict(a=torch.arange(3.0)),
        "lr_scheduler": {"milestones": Counter({30: 1})},
    }
    torch.save(content, tmp_path / "w", _use_new_zipfile_serialization=zipped)
    held = read_checkpoint(tmp_path / "w")
    assert list(held) == list(content)
    assert torch.equal(held["state_dict"]["a"], torch.arange(3.0))


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_the_content_says_what_a_file_is(tmp_path: Path, name: str) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / name)
    assert torch.equal(read_checkpoint(tmp_path / name)["a"], torch.ones(2))


def test_what_is_no_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(b"")
    assert "not a checkpoint: neither safetensors nor a file of torch.save (it is empty)" in (
        refusal(path)
    )
    path.write_text("<!doctype html>", encoding="utf-8")
    assert "not a checkpoint: neither" in refusal(path)
    with path.open("wb") as file:
        np.savez(file, a=np.ones(2))
    assert "damaged, or not a checkpoint of torch.save" in refusal(path)
    torch.save([torch.ones(1)], path)
    assert "holds a list, not a state dict" in refusal(path)


def test_damaged_files(tmp_path: Path) -> None:
    whole, path = tmp_path / "whole", tmp_path / "w.pth"
    for zipped in (True, False):
        torch.save({"a": torch.randn(500)}, whole, _use_new_zipfile_serialization=zipped)
        path.write_bytes(whole.read_bytes()[:200])
        assert "damaged, or not a checkpoint of torch.save" in refusal(path)
    save_file({"a": torch.ones(100)}, whole)
    path.write_bytes(whole.read_bytes()[:100])
    assert "damaged, or not safetensors" in refusal(path)


def test_torchscript_is_no_file_of_weights(tmp_path: Path) -> None:
    class Twice(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 2 * x

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch deprecates what such files are made with
        torch.jit.save(torch.jit.script(Twice()), tmp_path / "w.pt")
    assert "a TorchScript archive, not weights" in refusal(tmp_path / "w.pt")


def test_where_the_file_is(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no such file"):
        weights_file(tmp_path / "none.pth")
    with pytest.raises(UsageError, match=r"a folder without encoder\.safetensors"):
        weights_file(tmp_path)
    (tmp_path / "encoder.safetensors").touch()
    assert weights_file(tmp_path) == tmp_path / "encoder.safetensors"
    with pytest.raises(UsageError, match="not a safetensors file"):
        check_safetensors(tmp_path / "encoder.safetensors")
