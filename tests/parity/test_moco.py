"""MoCo v2, step by step, against the published algorithm written out with loops.

The published code runs on two GPUs, each with batch norms of its own, and moves the key encoder at
the start of a step; here two halves of a batch stand for the GPUs.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from backbench.images import ArrayImages
from backbench.nn import TrainingContext, align_loss, info_nce, uniform_loss
from backbench.training.loop import TrainingRun, pretrain
from backbench_ssl.method_options import MoCoOptions
from backbench_ssl.moco import MoCo

BATCH, QUEUE, GPUS, STEPS = 16, 48, 2, 5
LR, WEIGHT_DECAY, MOMENTUM, KEY_MOMENTUM, TEMPERATURE = 0.06, 1e-4, 0.9, 0.9, 0.2
SMALL = {
    "backbone": {"name": "tiny-resnet", "widths": (8, 16), "strides": (2, 2), "stem_width": 8},
    "epochs": STEPS,
    "batch_size": BATCH,
    "dim": 8,
    "queue": QUEUE,
    "momentum": KEY_MOMENTUM,
    "precision": "fp32",
    "knn_evaluations": 0,
}


class Recorded(MoCo):
    """Writes down what goes into each step, and what comes out."""

    made: list[Recorded]

    def __init__(self, options: MoCoOptions, context: TrainingContext) -> None:
        super().__init__(options, context)
        self.start = copy.deepcopy(self.f_q), self.queue.features.clone()
        self.log: list[dict[str, Any]] = []
        type(self).made.append(self)

    def param_groups(self) -> Any:
        trained = {id(parameter): parameter for parameter in self.f_q.parameters()}
        for group in super().param_groups():
            assert all(id(parameter) in trained for parameter in group["params"])
            yield group

    def training_loss(self, views: tuple[Tensor, Tensor]) -> Tensor:
        first, second = views
        self.log.append(
            {
                "views": (first.clone(), second.clone()),
                "generator": torch.get_rng_state(),
                "key": values(self.f_k),
            }
        )
        loss = super().training_loss(views)
        self.log[-1]["loss"] = loss.item()
        return loss

    def after_step(self, progress: Any) -> None:
        super().after_step(progress)
        self.log[-1]["queue"] = self.queue.features.clone()


def values(module: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten().double() for parameter in module.parameters()])


def trained(**given: Any) -> Recorded:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (BATCH, 8, 8, 3), dtype=np.uint8)
    pixels = coarse.repeat(4, 1).repeat(4, 2)
    images = ArrayImages(pixels, np.arange(BATCH) % 2, [str(i) for i in range(BATCH)])
    Recorded.made = []
    options = MoCoOptions.model_validate(SMALL | {"norm_groups": GPUS} | given)
    pretrain(Recorded, TrainingRun(options, images, 1, "cpu"))
    (task,) = Recorded.made
    return task


def unit(vectors: Tensor) -> Tensor:
    rows = [row / (row * row).sum().sqrt() for row in vectors.double()]
    return torch.stack(rows)


def contrast(queries: Tensor, keys: Tensor, queue: Tensor, temperature: float) -> Tensor:
    losses = []
    for query, key in zip(queries, keys, strict=True):
        positive = (query @ key / temperature).exp()
        total = positive + sum((query @ negative / temperature).exp() for negative in queue)
        losses.append(-(positive / total).log())
    return torch.stack(losses).mean()


def align(queries: Tensor, keys: Tensor, alpha: float) -> Tensor:
    pairs = zip(queries, keys, strict=True)
    return torch.stack([((q - k) ** 2).sum() ** (alpha / 2) for q, k in pairs]).mean()


def uniform(queries: Tensor, queue: Tensor, t: float, *, intra_batch: bool) -> Tensor:
    pairs = [(query, negative) for query in queries for negative in queue]
    if intra_batch:
        pairs += [(queries[i], queries[j]) for i in range(len(queries)) for j in range(i)]
    return torch.stack([(-t * ((a - b) ** 2).sum()).exp() for a, b in pairs]).mean().log()


class Published:
    """Two GPUs, a key encoder that moves at the start of a step, SGD with an L2 penalty."""

    def __init__(self, query: nn.Module, queue: Tensor, options: MoCoOptions) -> None:
        self.query, self.key = copy.deepcopy(query), copy.deepcopy(query)
        self.queue = [row.double() for row in queue]
        self.pointer = 0
        self.options = options
        self.velocity = [torch.zeros_like(p) for p in self.query.parameters()]

    def step(self, epoch: int, first: Tensor, second: Tensor, order: Tensor) -> float:
        self.move_key()
        halves = [self.query(half) for half in first.split(BATCH // GPUS)]
        with torch.no_grad():
            shuffled = [self.key(second[places]) for places in order.view(GPUS, -1)]
        keys = unit(torch.cat(shuffled))[order.argsort()]
        queue, options, losses = torch.stack(self.queue), self.options, []
        for gpu, half in enumerate(halves):
            queries = unit(half)
            own = keys[gpu * len(half) : (gpu + 1) * len(half)]
            loss = options.contrast_weight * contrast(queries, own, queue, TEMPERATURE)
            loss = loss + options.align_weight * align(queries, own, options.align_alpha)
            intra = options.uniform_intra_batch
            spread = uniform(queries, queue, options.uniform_t, intra_batch=intra)
            losses.append(loss + options.uniform_weight * spread)
        loss = sum(losses) / GPUS
        self.query.zero_grad()
        loss.backward()
        self.descend(LR * (1 + math.cos(math.pi * epoch / STEPS)) / 2)
        for key in keys:
            self.queue[self.pointer] = key
            self.pointer = (self.pointer + 1) % QUEUE
        return loss.item()

    @torch.no_grad()
    def move_key(self) -> None:
        for key, query in zip(self.key.parameters(), self.query.parameters(), strict=True):
            key.copy_(KEY_MOMENTUM * key + (1 - KEY_MOMENTUM) * query)

    @torch.no_grad()
    def descend(self, lr: float) -> None:
        for parameter, velocity in zip(self.query.parameters(), self.velocity, strict=True):
            velocity.copy_(MOMENTUM * velocity + parameter.grad + WEIGHT_DECAY * parameter)
            parameter.copy_(parameter - lr * velocity)


def permutation(state: Tensor) -> Tensor:
    """The shuffle that is drawn from torch's global generator in this state."""
    with torch.random.fork_rng():
        torch.set_rng_state(state)
        return torch.randperm(BATCH)


def distance(found: Tensor, expected: Tensor) -> float:
    """Relative distance of two vectors."""
    return ((found.double() - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize(
    "weights",
    [
        {},
        {"contrast_weight": 0.0, "align_weight": 3.0, "uniform_weight": 1.0},
        {"align_weight": 0.5, "align_alpha": 1.0, "uniform_weight": 0.7, "uniform_t": 2.0}
        | {"uniform_intra_batch": False},
    ],
    ids=["contrast", "align-uniform", "all"],
)
def test_five_steps(weights: dict[str, Any]):
    """Losses, the queue in its order, and the key encoder's parameters."""
    task = trained(**weights)
    published = Published(*task.start, task.options)
    assert len(task.log) == STEPS
    for epoch, found in enumerate(task.log):
        loss = published.step(epoch, *found["views"], permutation(found["generator"]))
        # The key encoder with which this step's keys were made, and the queue after the step.
        assert distance(found["key"], values(published.key)) < 1e-6
        assert distance(found["queue"], torch.stack(published.queue)) < 1e-6
        # The terms of alignment and uniformity are near 1, and nearly cancel.
        assert found["loss"] == pytest.approx(loss, rel=1e-6, abs=1e-6 if weights else 0)
    published.move_key()
    assert distance(values(task.f_k), values(published.key)) < 1e-6
    assert distance(values(task.f_q), values(published.query)) < 1e-6
    assert published.pointer == STEPS * BATCH % QUEUE


def test_the_queue_starts_with_unit_vectors_and_is_overwritten_in_order():
    task = trained()
    start = task.start[1]
    assert start.norm(dim=1) == pytest.approx(torch.ones(QUEUE))
    first, second, third, fourth, _ = (found["queue"] for found in task.log)
    assert torch.equal(first[BATCH:], start[BATCH:])
    assert torch.equal(second[:BATCH], first[:BATCH])
    assert torch.equal(second[2 * BATCH :], start[2 * BATCH :])
    assert not torch.equal(third[2 * BATCH :], start[2 * BATCH :])
    assert torch.equal(fourth[BATCH:], third[BATCH:])
    assert not torch.equal(fourth[:BATCH], third[:BATCH])


def test_running_statistics_are_those_of_the_first_gpu():
    """As DistributedDataParallel sends round the buffers of rank 0."""
    task = trained()
    reference = copy.deepcopy(task.start[0])
    published = Published(*task.start, task.options)
    for epoch, found in enumerate(task.log):
        with torch.no_grad():
            for own, moved in zip(
                reference.parameters(), published.query.parameters(), strict=True
            ):
                own.copy_(moved)
            reference(found["views"][0][: BATCH // GPUS])
        published.step(epoch, *found["views"], permutation(found["generator"]))
    for (name, buffer), expected in zip(task.f_q.named_buffers(), reference.buffers(), strict=True):
        assert torch.allclose(buffer, expected, rtol=1e-5, atol=1e-6), name


def test_losses_as_functions():
    """In float64, where nothing is rounded; the loops are those above."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        queries, keys, queue = (unit(torch.randn(count, 6)) for count in (7, 7, 11))
    expected = contrast(queries, keys, queue, 0.07).item()
    assert info_nce(queries, keys, queue, 0.07).item() == pytest.approx(expected, rel=1e-12)
    for alpha in (1.0, 2.0, 3.0):
        expected = align(queries, keys, alpha).item()
        assert align_loss(queries, keys, alpha).item() == pytest.approx(expected, rel=1e-12)
    for intra in (True, False):
        expected = uniform(queries, queue, 3.0, intra_batch=intra).item()
        found = uniform_loss(queries, queue, 3.0, intra_batch=intra).item()
        assert found == pytest.approx(expected, rel=1e-12)


def test_parameter_count():
    """ResNet-18 without its last layer, and a head of 512 → 512 → 128."""
    options = MoCoOptions()
    context = TrainingContext(images=256, image_size=224, steps_per_epoch=1, seed=0)
    with torch.random.fork_rng():
        task = MoCo(options, context)
    assert sum(p.numel() for p in task.parameters() if p.requires_grad) == 11_504_832
    (group,) = task.param_groups()
    assert sum(p.numel() for p in group["params"]) == 11_504_832
    assert group["weight_decay"] == 1e-4
    assert task.queue.features.shape == (65_536, 128)
