"""The SSL methods: the algorithms, step by step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import backbench_ssl
from backbench.images import ArrayImages
from backbench.nn import Progress, TrainingContext, cosine_regression, info_nce
from backbench.training.loop import TrainingRun, pretrain
from backbench.views.batches import UniformBatch
from backbench.views.boxes import square_boxes
from backbench.views.randomness import Draws
from backbench_ssl.byol import BYOL, target_momentum
from backbench_ssl.jigsaw import PROJECTION, Jigsaw, cut_tiles, recolor
from backbench_ssl.method_options import (
    BYOLOptions,
    JigsawOptions,
    MoCoOptions,
    RotNetOptions,
    SimCLROptions,
    SimSiamOptions,
)
from backbench_ssl.moco import MoCo, embed
from backbench_ssl.rotnet import RotNet, rotations
from backbench_ssl.simclr import SimCLR
from backbench_ssl.simsiam import SimSiam

SMALL = {info.name: info.presets["small"] for info in backbench_ssl.register_ssl_methods()}
TINY = {"name": "tiny-resnet", "widths": (8, 16), "strides": (2, 2), "stem_width": 8}
METHODS = {
    "moco-v2": (MoCo, MoCoOptions, {"queue": 32}),
    "byol": (BYOL, BYOLOptions, {}),
    "simclr": (SimCLR, SimCLROptions, {}),
    "simsiam": (SimSiam, SimSiamOptions, {}),
    "jigsaw": (Jigsaw, JigsawOptions, {"permutations": 8}),
    "rotnet": (RotNet, RotNetOptions, {}),
}


def options(name: str, **given: Any) -> Any:
    _, model, extra = METHODS[name]
    common = {"backbone": TINY, "batch_size": 16, "epochs": 8}
    return model.model_validate(SMALL[name] | common | extra | given)


def build(name: str, **given: Any) -> Any:
    context = TrainingContext(images=48, image_size=32, steps_per_epoch=3, seed=0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return METHODS[name][0](options(name, **given), context)


def batch(images: ArrayImages, count: int = 16) -> UniformBatch:
    indices = np.arange(count)
    return UniformBatch(torch.tensor(images.pixels[:count]), indices, epoch=0, seed=1)


def progress(epoch: int = 0) -> Progress:
    return Progress(step=0, epoch=epoch, steps=24, epochs=8)


def parameters(module: torch.nn.Module) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in module.parameters()]


@pytest.mark.parametrize("name", METHODS)
def test_the_loss_is_finite_and_falls(name: str, small_images: ArrayImages):
    given = {} if name != "byol" else {"momentum": 0.9}
    run = TrainingRun(options(name, **given), small_images, 0, "cpu")
    _, history = pretrain(METHODS[name][0], run)
    assert np.isfinite([record["loss"] for record in history]).all()
    if name in {"byol", "rotnet"}:  # the tasks of the others grow harder while their queues fill
        assert history[-1]["loss"] < history[0]["loss"]


@pytest.mark.parametrize("name", METHODS)
def test_a_fixed_batch_can_be_learnt(name: str, small_images: ArrayImages):
    task = build(name)
    views = task.views(batch(small_images))
    optimizer = torch.optim.SGD(task.param_groups(), lr=0.05, momentum=0.9)
    losses = []
    for _ in range(20):
        loss = task.training_loss(views)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("name", METHODS)
def test_features(name: str):
    task = build(name).eval()
    assert task.encoder(torch.rand(2, 3, 32, 32)).shape == (2, 16)


# -- MoCo ----------------------------------------------------------------------------------


def test_moco_contrasts_queries_with_the_queue(small_images: ArrayImages):
    task = build("moco-v2", temperature=0.3)
    first, second = task.views(batch(small_images))
    assert not torch.equal(first, second)
    queue = task.queue.features.clone()
    loss = task.training_loss((first, second))
    with torch.no_grad():
        queries = F.normalize(task.f_q(first), dim=1)
        keys = F.normalize(task.f_k(second), dim=1)
    assert loss.item() == pytest.approx(info_nce(queries, keys, queue, 0.3).item(), abs=1e-4)
    assert torch.equal(task.queue.features, queue)  # not before the gradient has been taken
    task.after_step(progress())
    assert torch.allclose(task.queue.features[:16], keys, atol=1e-5)
    assert torch.equal(task.queue.features[16:], queue[16:])


def test_moco_starts_with_equal_encoders_and_moves_one(small_images: ArrayImages):
    task = build("moco-v2", momentum=0.75)
    start = parameters(task.f_q)
    assert all(map(torch.equal, start, parameters(task.f_k)))
    task.training_loss(task.views(batch(small_images)))
    with torch.no_grad():
        for parameter in task.f_q.parameters():
            parameter.add_(1.0)
    task.after_step(progress())
    for before, after in zip(start, parameters(task.f_k), strict=True):
        assert torch.allclose(after, before + 0.25, atol=1e-6)


def test_moco_keys_take_no_gradient(small_images: ArrayImages):
    task = build("moco-v2")
    task.training_loss(task.views(batch(small_images))).backward()
    assert all(parameter.grad is None for parameter in task.f_k.parameters())
    assert all(parameter.grad is not None for parameter in task.f_q.parameters())
    trained = {id(p) for group in task.param_groups() for p in group["params"]}
    assert trained == {id(p) for p in task.f_q.parameters()}


def test_moco_key_norms_keep_statistics_of_their_own(small_images: ArrayImages):
    task = build("moco-v2")
    task.training_loss(task.views(batch(small_images)))
    query, key = (net[0].backbone.body.norm.running_mean for net in (task.f_q, task.f_k))
    assert key.abs().sum() > 0
    assert not torch.allclose(query, key)


def test_moco_groups_of_batch_norm(small_images: ArrayImages):
    task = build("moco-v2", norm_groups=2)
    images = torch.rand(16, 3, 32, 32)
    with torch.no_grad():
        parts = torch.cat([task.f_q(images[:8]), task.f_q(images[8:])])
        assert torch.allclose(embed(task.f_q, images, 2), F.normalize(parts, dim=1))
        task.f_q.eval()
        task.f_k.eval()
        # Shuffled between groups and back: without batch statistics it changes nothing.
        plain = F.normalize(task.f_k(images), dim=1)
        assert torch.allclose(task.encode_keys(images), plain, atol=1e-5)


@pytest.mark.parametrize("weight", ["contrast", "align", "uniform"])
def test_moco_weights_its_losses(weight: str, small_images: ArrayImages):
    """A weight of 2 doubles one loss, with the other two off; the sum has all three."""
    off = {"contrast_weight": 0.0, "align_weight": 0.0, "uniform_weight": 0.0}
    views = build("moco-v2").views(batch(small_images))

    def loss(**given: float) -> float:
        return build("moco-v2", **(off | given)).training_loss(views).item()

    alone = loss(**{f"{weight}_weight": 1.0})
    assert loss(**{f"{weight}_weight": 2.0}) == pytest.approx(2 * alone, rel=1e-5)
    others = sum(loss(**{name: 1.0}) for name in off if name != f"{weight}_weight")
    assert loss(**dict.fromkeys(off, 1.0)) == pytest.approx(alone + others, rel=1e-4)


def test_moco_needs_some_loss():
    with pytest.raises(ValueError, match="are all 0"):
        MoCoOptions(contrast_weight=0.0)


def test_moco_head():
    task = build("moco-v2", hidden=None, dim=12)
    linear, relu, last = task.f_q[1]
    assert (linear.in_features, linear.out_features, last.out_features) == (16, 16, 12)
    assert isinstance(relu, torch.nn.ReLU)


# -- BYOL ----------------------------------------------------------------------------------


def test_byol_adds_both_regressions(small_images: ArrayImages):
    task = build("byol")
    first, second = task.views(batch(small_images))
    loss = task.training_loss((first, second))
    with torch.no_grad():
        one = cosine_regression(task.predictor(task.online(first)), task.target(second))
        other = cosine_regression(task.predictor(task.online(second)), task.target(first))
    assert loss.item() == pytest.approx((one + other).item(), abs=1e-4)
    assert 0 <= loss.item() <= 8


def test_byol_groups_are_the_encoders_alone(small_images: ArrayImages):
    task = build("byol", norm_groups=4)
    first, second = task.views(batch(small_images))
    loss = task.training_loss((first, second))
    with torch.no_grad():

        def project(network: torch.nn.Sequential, images: torch.Tensor) -> torch.Tensor:
            return network[1](torch.cat([network[0](part) for part in images.split(4)]))

        one = cosine_regression(
            task.predictor(project(task.online, first)), project(task.target, second)
        )
        other = cosine_regression(
            task.predictor(project(task.online, second)), project(task.target, first)
        )
    assert loss.item() == pytest.approx((one + other).item(), abs=1e-4)


def test_byol_target_takes_no_gradient_and_moves(small_images: ArrayImages):
    task = build("byol", momentum=0.9)
    start = parameters(task.target)
    task.training_loss(task.views(batch(small_images))).backward()
    assert all(parameter.grad is None for parameter in task.target.parameters())
    assert all(parameter.grad is not None for parameter in task.predictor.parameters())
    with torch.no_grad():
        for parameter in task.online.parameters():
            parameter.add_(1.0)
    task.after_step(progress(epoch=4))
    share = 1 - target_momentum(0.9, 4, 8)
    assert share == pytest.approx(0.05)
    for before, after in zip(start, parameters(task.target), strict=True):
        assert torch.allclose(after, before + share, atol=1e-6)


@pytest.mark.parametrize(("epoch", "expected"), [(0, 0.99), (100, 0.995), (199, 0.9999994)])
def test_byol_momentum_is_the_published_one(epoch: int, expected: float):
    assert target_momentum(0.99, epoch, 200) == pytest.approx(expected, abs=1e-7)


def test_byol_heads():
    task = build("byol", hidden=20, dim=12)
    widths = [m.num_features for m in task.online[1] if isinstance(m, torch.nn.BatchNorm1d)]
    assert widths == [20]
    assert task.online[1][0].in_features == 16
    assert task.predictor[0].in_features == task.predictor[3].out_features == 12


# -- RotNet --------------------------------------------------------------------------------


def test_rotations_are_counter_clockwise():
    images = torch.arange(2 * 3 * 4 * 4, dtype=torch.float32).view(2, 3, 4, 4)
    turned = rotations(images)
    for turn in range(4):
        expected = np.rot90(images.permute(0, 2, 3, 1).numpy(), turn, axes=(1, 2))
        found = turned[2 * turn : 2 * turn + 2].permute(0, 2, 3, 1).numpy()
        assert np.array_equal(found, expected)


def test_rotnet_groups_hold_all_turns(small_images: ArrayImages):
    task = build("rotnet", norm_groups=2)
    views = task.views(batch(small_images))
    with torch.no_grad():
        halves = views.view(4, 2, 8, 3, 32, 32).unbind(1)
        scores = torch.cat([task.classifier(task.encoder(half.flatten(0, 1))) for half in halves])
    labels = torch.arange(4).repeat_interleave(8).repeat(2)
    assert task.training_loss(views).item() == pytest.approx(
        F.cross_entropy(scores, labels).item(), abs=1e-4
    )


def test_rotnet_labels_follow_the_turns(small_images: ArrayImages):
    task = build("rotnet")
    views = task.views(batch(small_images))
    assert views.shape == (64, 3, 32, 32)
    labels = torch.tensor([0] * 16 + [1] * 16 + [2] * 16 + [3] * 16)
    logits = task.classifier(task.encoder(views))
    assert task.training_loss(views).item() == pytest.approx(
        F.cross_entropy(logits, labels).item(), abs=1e-4
    )


# -- Jigsaw --------------------------------------------------------------------------------


def test_tiles_go_to_their_slots():
    """Source tile k stands in slot permutation[k], cut at its own offset."""
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.random((5, 3, 30, 30), dtype=np.float32))
    permutations = np.stack([rng.permutation(9) for _ in range(5)])
    offsets = rng.integers(0, 3, (5, 9, 2))
    slots = cut_tiles(images, permutations, offsets, cell=10, tile=8)
    for row in range(5):
        for k in range(9):
            top = k // 3 * 10 + offsets[row, k, 0]
            left = k % 3 * 10 + offsets[row, k, 1]
            expected = images[row, :, top : top + 8, left : left + 8]
            assert torch.equal(slots[permutations[row, k]][row], expected)


def test_offsets_reach_from_zero_to_the_jitter():
    drawn = Draws(0, 0, np.arange(500), 0).integers(66, JigsawOptions().jitter + 1, 18)
    assert (drawn.min(), drawn.max()) == (0, 20)


def test_square_boxes_lie_in_the_resized_image():
    draws = Draws(0, 0, np.arange(400), 0)
    sizes = np.tile([375, 500], (400, 1))
    top, left, height, width = square_boxes(draws, 65, sizes, 256, 255).T
    zoom = 375 / 256
    assert height == pytest.approx(255 * zoom)
    assert width == pytest.approx(255 * 500 / 341)
    assert set(np.round(top / zoom)) == {0, 1}
    assert left.min() >= 0
    assert (left + width).max() <= 500 + 1e-3
    native = square_boxes(draws, 65, np.tile([32, 32], (400, 1)), 0, 30)
    assert set(np.unique(native[:, :2])) == {0, 1, 2}
    assert (native[:, 2:] == 30).all()


def test_colors_of_puzzles():
    draws = Draws(0, 0, np.arange(2000), 0)
    images = torch.rand(2000, 3, 2, 2)
    result = recolor(images.clone(), draws, 0.5, 0.5)
    gray = (result[:, 0] == result[:, 1]).flatten(1).all(1)
    same = (result == images).flatten(1).all(1)
    projected = ~gray & ~same
    assert gray.float().mean().item() == pytest.approx(0.5, abs=0.04)
    assert projected.float().mean().item() == pytest.approx(0.25, abs=0.04)
    row = int(projected.nonzero()[0])
    expected = torch.tensor(PROJECTION) @ images[row].flatten(1)
    assert torch.allclose(result[row].flatten(1), expected, atol=1e-6)
    assert np.round(PROJECTION, 4).tolist() == [
        [0.8333, 0.3333, -0.1667], [0.3333, 0.3333, 0.3333], [-0.1667, 0.3333, 0.8333],
    ]  # fmt: skip


def test_jigsaw_groups(small_images: ArrayImages):
    task = build("jigsaw", norm_groups=2)
    slots, chosen = task.views(batch(small_images))
    with torch.no_grad():
        parts = [[task.encoder(half) for half in slot.split(8)] for slot in slots]
        features = torch.cat([torch.cat(halves) for halves in parts], dim=1)
    expected = F.cross_entropy(task.classifier(features), chosen).item()
    assert task.training_loss((slots, chosen)).item() == pytest.approx(expected, abs=1e-4)


def test_jigsaw_normalizes_each_slot_on_its_own(small_images: ArrayImages):
    task = build("jigsaw")
    slots, chosen = task.views(batch(small_images))
    assert len(slots) == 9
    assert slots[0].shape == (16, 3, 8, 8)
    assert chosen.max() < 8
    logits = task.classifier(torch.cat([task.encoder(slot) for slot in slots], dim=1))
    expected = F.cross_entropy(logits, chosen).item()
    assert task.training_loss((slots, chosen)).item() == pytest.approx(expected, abs=1e-4)
    assert task.encoder.backbone.body.norm.num_batches_tracked.item() == 18
    assert task.classifier.in_features == 9 * 16
