"""Views and loss of each method on a GPU that is not there: tensors have a place, but no numbers.

Numbers that the host would have to look at are an error of torch's, as are sums of tensors in two
places. Copies from the host, and indices that are there, are watched. The way back and the
optimizer need a driver, and are not seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import backbench_ssl
from backbench.images import ArrayImages
from backbench.nn import Batch, Progress, TrainingContext
from backbench.nn.parts import send
from backbench.plugin.registry import load_registry
from backbench.views.batches import Source, reader_pool
from backbench_defenses.defense_options import FinePruneOptions
from backbench_defenses.fine_prune import FineTuning

GPU = torch.device("cuda:0")
PRESETS = {
    (info.name, preset): values
    for info in backbench_ssl.register_ssl_methods()
    for preset, values in info.presets.items()
}


#: What torch's simulation takes from the host without a word; a GPU would be waited for.
TAKES_HOST_TENSORS = {
    torch.ops.aten.copy_.default,
    torch.ops.aten.index.Tensor,
    torch.ops.aten.index_put.default,
    torch.ops.aten.index_put_.default,
}


class Copies(TorchDispatchMode):
    """Notes how what comes from the host is copied."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[tuple[int, ...]] = []
        self.free = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in TAKES_HOST_TENSORS and args[0].device.type == "cuda":
            given = [one for one in tree_leaves(args[1:]) if isinstance(one, torch.Tensor)]
            self.waiting += [tuple(one.shape) for one in given if one.device.type == "cpu"]
        copy = func is torch.ops.aten._to_copy.default and args[0].device.type == "cpu"
        if copy and torch.device(kwargs.get("device") or "cpu").type == "cuda":
            if kwargs.get("non_blocking"):
                self.free += 1
            else:
                self.waiting.append(tuple(args[0].shape))
        return func(*args, **kwargs)


def moved(module: nn.Module, mode: FakeTensorMode) -> None:
    """Put a module on the GPU."""
    for part in module.modules():
        for name, one in part._parameters.items():
            if one is not None:
                fake = mode.from_tensor(one.detach()).to(GPU)
                part._parameters[name] = nn.Parameter(fake, requires_grad=one.requires_grad)
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = mode.from_tensor(buffer).to(GPU)


@contextmanager
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeTensorMode]:
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: self)  # needs a driver
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        yield mode


def built(name: str, given: dict[str, Any]) -> Any:
    registered = load_registry().find("ssl-method", name)
    backbone = {"name": "tiny-resnet", "widths": (8, 16), "strides": (2, 2), "stem_width": 8}
    options = registered.info.options.model_validate(
        given | {"backbone": backbone, "batch_size": 16}
    )
    context = TrainingContext(images=48, image_size=32, steps_per_epoch=3, seed=0)
    with torch.random.fork_rng(devices=[]):
        return registered.implementation()(options, context).train()


@pytest.mark.parametrize(("name", "preset"), PRESETS)
@pytest.mark.filterwarnings("ignore:CUDA is not available")
def test_nothing_waits_and_nothing_is_left_on_the_host(
    name: str, preset: str, monkeypatch: pytest.MonkeyPatch
):
    more = {"moco-v2": {"queue": 32}, "jigsaw": {"permutations": 8}}.get(name, {})
    method = built(name, PRESETS[name, preset] | more | {"norm_groups": 1})
    step(method, monkeypatch)


@pytest.mark.filterwarnings("ignore:CUDA is not available")
def test_keys_are_shuffled_without_waiting(monkeypatch: pytest.MonkeyPatch):
    step(built("moco-v2", {"queue": 32, "norm_groups": 2}), monkeypatch)


def step(method: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (48, 32, 32, 3), dtype=np.uint8)
    with gpu(monkeypatch) as mode:
        moved(method, mode)
        images = ArrayImages(pixels, np.zeros(48, dtype=np.int64), [""] * 48)
        source = Source(images, GPU, reader_pool())
        with Copies() as copies:
            (batch, *_) = source.batches(np.arange(48), 16, epoch=0, seed=0)
            views = method.views(batch)
            loss = method.training_loss(views)
            method.after_step(Progress(step=0, epoch=0, steps=24, epochs=8))
    assert loss.device == GPU
    assert loss.shape == ()
    assert copies.waiting == []
    assert copies.free >= 3  # which images, and their boxes at least


def first_batch() -> Batch:
    """Return the first batch of a few images, on the GPU."""
    pixels = np.random.default_rng(0).integers(0, 256, (48, 32, 32, 3), dtype=np.uint8)
    images = ArrayImages(pixels, np.zeros(48, dtype=np.int64), [""] * 48)
    return next(Source(images, GPU, reader_pool()).batches(np.arange(48), 16, epoch=0, seed=0))


@pytest.mark.filterwarnings("ignore:CUDA is not available")
@pytest.mark.filterwarnings("ignore:Accessing the data pointer of FakeTensor")  # by deepcopy
def test_channels_of_an_encoder_on_the_gpu_are_pruned_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    teacher = built("simsiam", {"norm_groups": 1}).encoder.eval()
    options = FinePruneOptions(batch_size=16)
    context = TrainingContext(images=48, image_size=32, steps_per_epoch=3, seed=0)
    with gpu(monkeypatch) as mode:
        moved(teacher, mode)
        task = FineTuning(teacher, np.arange(3), options, context)
        loss = task.train().training_loss(task.views(first_batch()))
        task.after_step(Progress(step=0, epoch=0, steps=24, epochs=8))
    assert (loss.device, loss.shape) == (GPU, ())


def test_the_watch_sees_what_waits(monkeypatch: pytest.MonkeyPatch):
    numbers = np.arange(3)
    with gpu(monkeypatch), Copies() as copies:
        assert send(numbers, GPU).device == GPU
        assert (copies.waiting, copies.free) == ([], 1)
        there = torch.from_numpy(numbers).to(GPU)
        assert (copies.waiting, copies.free) == ([(3,)], 1)
        assert there[torch.from_numpy(numbers)].device == GPU
        there.copy_(torch.from_numpy(numbers))
        assert (copies.waiting, copies.free) == ([(3,)] * 3, 1)
        with pytest.raises(DataDependentOutputException):
            there.sum().item()
        with pytest.raises(RuntimeError, match="device"):
            there + torch.from_numpy(numbers)


def test_on_a_processor_nothing_is_copied():
    numbers = np.arange(3)
    sent = send(numbers, torch.device("cpu"))
    numbers[0] = 7
    assert sent.tolist() == [7, 1, 2]
