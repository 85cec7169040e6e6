"""Two processes train what one process trains with two batch-norm groups.

As the published MoCo on two GPUs: each sees half of the batch, keys are shuffled between them, the
running statistics are those of the first.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file

from backbench.errors import LostProcessError, StageError, UsageError
from backbench.images import ArrayImages
from backbench.nn import ALONE, Encoder, Ranks
from backbench.training.devices import Device, rank_devices
from backbench.training.distributed import together
from backbench.training.loop import TrainingRun, pretrain

CPU = Device("cpu")
BACKBONE = {"name": "tiny-resnet", "widths": (8, 8), "strides": (2, 2), "stem_width": 8}
SMALL: dict[str, Any] = {
    "backbone": BACKBONE,
    "epochs": 1,
    "batch_size": 16,
    "norm_groups": 2,
    "precision": "fp32",
    "last_batch": "keep",
}
FLAT = {"name": "constant", "milestones": (), "warmup_steps": 0, "warmup_epochs": 0}
#: A small rate: where rounding moves a value over a ReLU's kink, the step is another one.
SGD = {"name": "sgd", "lr": 0.01}

#: Five steps each.
METHODS = {
    "moco-v2": ("moco:MoCo", "MoCoOptions", {"queue": 64, "dim": 8, "optimizer": SGD}),
    "byol": (
        "byol:BYOL",
        "BYOLOptions",
        {"dim": 8, "hidden": 16, "schedule": FLAT, "optimizer": SGD},
    ),
    "simclr": ("simclr:SimCLR", "SimCLROptions", {"dim": 8, "schedule": FLAT, "optimizer": SGD}),
    "simsiam": (
        "simsiam:SimSiam",
        "SimSiamOptions",
        {"dim": 16, "hidden": 8, "schedule": FLAT, "optimizer": SGD},
    ),
    "jigsaw": (
        "jigsaw:Jigsaw",
        "JigsawOptions",
        {"resize": 0, "cell": 10, "tile": 8, "jitter": 2, "permutations": 8, "schedule": FLAT},
    ),
    "rotnet": ("rotnet:RotNet", "RotNetOptions", {"schedule": FLAT, "optimizer": SGD}),
}


def images() -> ArrayImages:
    """Return 76 images: four batches of 16 and one of 12."""
    rng = np.random.default_rng(0)
    labels = np.arange(76) % 3
    pixels = rng.integers(0, 120, (76, 32, 32, 3))
    pixels[np.arange(76), :, :, labels] += 120
    return ArrayImages(pixels.astype(np.uint8), labels, [f"train/{i}" for i in range(76)])


def train(name: str, ranks: Ranks, **more: Any) -> tuple[Encoder, list[dict[str, float]]]:
    target, model, given = METHODS[name]
    module, _, attribute = target.partition(":")
    method = getattr(importlib.import_module(f"backbench_ssl.{module}"), attribute)
    options = getattr(importlib.import_module("backbench_ssl.method_options"), model)
    chosen = options.model_validate(SMALL | given | more)
    return pretrain(method, TrainingRun(chosen, images(), 4, "cpu", ranks=ranks))


# -- what the second process does; the first one names it ----------------------------------------


def follow(ranks: Ranks, device: str, order: Mapping[str, Any]) -> None:
    assert device == "cpu"
    gather(ranks, Path(order["folder"]))
    for name in METHODS:
        train(name, ranks, devices=2)


def gather(ranks: Ranks, folder: Path) -> None:
    tensor = torch.arange(3.0 * ranks.rank, 3 * ranks.rank + 3).requires_grad_()
    whole = ranks.gather(tensor)
    (whole * torch.arange(1.0, 7.0) * (ranks.rank + 1)).sum().backward()
    assert tensor.grad is not None
    found = {
        "whole": whole.detach(),
        "gradient": tensor.grad,
        "own": ranks.own(whole).detach().clone(),
    }
    save_file(found, folder / f"{ranks.rank}.safetensors")


HERE = "tests.parity.test_distributed"
FAILING = "tests.parity.failing:fail"

#: So that the second process can import this module, wherever the tests were started.
IMPORTABLE = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", IMPORTABLE)


# -- the tests -----------------------------------------------------------------------------------


def difference(one: Encoder, other: Encoder) -> float:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return max(float((first.double() - second.double()).abs().max()) for first, second in pairs)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Train every method with two processes; return where they gathered, and what came out."""
    folder = tmp_path_factory.mktemp("shared")
    order = {"folder": str(folder)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", IMPORTABLE)
        with together([CPU, CPU], f"{HERE}:follow", order, folder / "meeting") as ranks:
            gather(ranks, folder)
            trained = {name: train(name, ranks, devices=2) for name in METHODS}
    assert not dist.is_initialized()
    assert not list((folder / "meeting").iterdir())
    return folder, trained


@pytest.mark.parametrize("name", METHODS)
def test_two_processes_are_one_with_two_groups(
    name: str, shared: tuple[Path, dict[str, Any]]
) -> None:
    encoder, log = shared[1][name]
    alone, history = train(name, ALONE)
    # sums are rounded in another order, and the steps enlarge that: 4e-5 seen without AVX-512
    assert difference(alone, encoder) < 1e-4
    assert log[0]["loss"] == pytest.approx(history[0]["loss"], rel=1e-5)
    ungrouped, _ = train(name, ALONE, norm_groups=1)
    assert difference(alone, ungrouped) > 1e-4  # or there would be nothing to compare


def test_gathering_goes_back_to_the_own_slice(shared: tuple[Path, dict[str, Any]]) -> None:
    for rank in (0, 1):
        found = load_file(shared[0] / f"{rank}.safetensors")
        assert found["whole"].tolist() == [0, 1, 2, 3, 4, 5]
        assert found["own"].tolist() == [3 * rank, 3 * rank + 1, 3 * rank + 2]
        # what rank 0 asks for once and rank 1 twice
        assert found["gradient"].tolist() == [3 * (3 * rank + i) for i in (1, 2, 3)]


@pytest.mark.parametrize(
    ("how", "kind", "words"),
    [
        ("raise", StageError, "rank 1 of 2: ValueError: no such image"),
        ("usage", UsageError, "rank 1 of 2: a.jpg: not an image"),
        ("die", LostProcessError, "rank 1 of 2 was killed by SIGKILL"),
    ],
)
def test_a_rank_that_fails_ends_the_others(
    how: str, kind: type[Exception], words: str, tmp_path: Path
) -> None:
    with (
        pytest.raises(kind, match=words),
        together([CPU, CPU], FAILING, {"how": how}, tmp_path),
    ):
        dist.all_reduce(torch.ones(1))  # would wait for ever
    assert not dist.is_initialized()


def test_a_rank_that_cannot_begin_is_told(tmp_path: Path) -> None:
    with (
        pytest.raises(StageError, match="rank 1 of 2: ModuleNotFoundError"),
        together([CPU, CPU], "no_such_module:follow", {}, tmp_path),
    ):
        pytest.fail("it has begun")


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2]


def until(condition: Any, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.02)


def test_a_failure_of_the_first_ends_the_others(tmp_path: Path) -> None:
    device = tmp_path / "place"
    order = {"how": "sleep", "here": str(device)}

    def begin_and_fail() -> None:
        with together([CPU, CPU], FAILING, order, tmp_path):
            until(lambda: device.exists() and device.read_text(encoding="utf-8"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        begin_and_fail()
    assert not alive(int(device.read_text(encoding="utf-8")))


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
def test_no_rank_outlives_a_killed_first(tmp_path: Path) -> None:
    device = tmp_path / "place"
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from backbench.training.distributed import together\n"
        "from backbench.training.devices import Device\n"
        "order = {'how': 'sleep', 'here': sys.argv[1]}\n"
        f"with together([Device('cpu')] * 2, '{FAILING}', order, Path(sys.argv[2])):\n"
        "    time.sleep(600)\n"
    )
    first = subprocess.Popen([sys.executable, "-c", code, str(device), str(tmp_path)])
    try:
        until(lambda: device.exists() and device.read_text(encoding="utf-8"))
    finally:
        first.kill()
        first.wait()
    until(lambda: not alive(int(device.read_text(encoding="utf-8"))), seconds=20)


def test_rank_devices() -> None:
    assert rank_devices("cpu", (), 1) == (CPU,)
    assert rank_devices("cpu", (), 3) == (CPU, CPU, CPU)
    assert [device.device for device in rank_devices("cuda:1", (), 3)] == [
        "cuda:1",
        "cuda:0",
        "cuda:2",
    ]
    lent = (Device("cuda:3", (4, 5)),)
    assert rank_devices("cuda:2", lent, 2) == (Device("cuda:2"), *lent)


def test_more_gpus_than_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with (
        pytest.raises(UsageError, match="devices = 3: torch sees 2 GPUs"),
        together(rank_devices("cuda:0", (), 3), f"{HERE}:follow", {}, tmp_path),
    ):
        pytest.fail("it has begun")
