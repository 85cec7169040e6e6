"""i-CutMix and localized cropping against their definitions, image by image."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from backbench.images import ArrayImages
from backbench.nn import SSLMethod, TrainingContext
from backbench.options.training import SSLOptions
from backbench.options.views import ViewOptions
from backbench.plugin import Box, random_view
from backbench.views.batches import UniformBatch
from backbench.views.views import view_boxes
from backbench_defenses.cutmix import CutMixed, Mixed, cut_box, kept_share, paste
from backbench_defenses.defense_options import CutMixOptions, LocalizedCroppingOptions
from backbench_defenses.localized_cropping import LocallyCropped, enlarged
from backbench_ssl.byol import BYOL
from backbench_ssl.method_options import (
    BYOLOptions,
    MoCoOptions,
    RotNetOptions,
    SimCLROptions,
    SimSiamOptions,
)
from backbench_ssl.moco import MoCo
from backbench_ssl.rotnet import RotNet
from backbench_ssl.simclr import SimCLR
from backbench_ssl.simsiam import SimSiam
from tests.unit.conftest import make_small_images


@pytest.fixture
def small_images() -> ArrayImages:
    return make_small_images()


BACKBONE = {"name": "tiny-resnet", "widths": (4, 8), "strides": (2, 2), "stem_width": 4}
N, SIDE = 12, 16

METHODS = [
    (MoCo, MoCoOptions, {"queue": 16, "dim": 8, "batch_size": 8, "norm_groups": 1}),
    (BYOL, BYOLOptions, {"dim": 8, "hidden": 8, "norm_groups": 1}),
    (SimCLR, SimCLROptions, {"dim": 8}),
    (SimSiam, SimSiamOptions, {"dim": 8, "hidden": 8}),
]


def build(method: type[SSLMethod], model: Any, given: dict[str, Any]) -> Any:
    options = model.model_validate({"backbone": BACKBONE, "precision": "fp32", **given})
    context = TrainingContext(images=48, image_size=SIDE, steps_per_epoch=4, seed=0)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return method(options, context)


def batch_of(chosen: list[int], images: ArrayImages, epoch: int = 2) -> UniformBatch:
    pixels = torch.from_numpy(images.pixels[chosen])
    return UniformBatch(pixels, np.asarray(chosen, dtype=np.int64), epoch=epoch, seed=5)


# -- i-CutMix -----------------------------------------------------------------------------------


def test_the_box_has_the_share_that_the_view_loses() -> None:
    """Its sides are √(1 − λ) of the view's, but for what lies outside the view."""
    shares = []
    for seed in range(400):
        box = cut_box(np.random.default_rng(seed), 224, 1.0)
        rng = np.random.default_rng(seed)
        wanted, center = rng.beta(1.0, 1.0), rng.integers(224, size=2)
        half = 112 * math.sqrt(1 - wanted)
        inside = [
            sum(round(c - half) <= pixel < round(c + half) for pixel in range(224)) for c in center
        ]
        assert [box.width, box.height] == inside
        assert min(box.x, box.y) >= 0
        assert max(box.x + box.width, box.y + box.height) <= 224
        shares.append(kept_share(box, 224))
        assert shares[-1] == pytest.approx(1 - inside[0] * inside[1] / 224**2)
        assert shares[-1] >= wanted - 0.01  # what is cut off stays
    assert 0 <= min(shares) < 0.2
    assert 0.9 < max(shares) <= 1


def test_a_mixed_view_has_the_partners_pixels_in_the_box_alone() -> None:
    draw = torch.Generator().manual_seed(0)
    images, others = (torch.rand(3, 3, 8, 8, generator=draw) for _ in range(2))
    box = Box(x=2, y=1, width=5, height=3)
    mixed = paste(images, others, box)
    for y in range(8):
        for x in range(8):
            source = others if 2 <= x < 7 and 1 <= y < 4 else images
            assert mixed[:, :, y, x].equal(source[:, :, y, x])


def test_the_views_of_a_method_are_mixed(small_images: ArrayImages) -> None:
    method = build(*METHODS[0])
    guarded, batch = CutMixed(method, 1.0), batch_of(list(range(N)), small_images)
    first, second, partners, share = guarded.views(batch)
    plain, other = method.views(batch)
    assert second.equal(other)
    assert sorted(partners.tolist()) == list(range(N))
    theirs = (first != plain).any(1)  # (B, S, S)
    assert first[theirs[:, None].expand_as(first)].equal(
        plain[partners][theirs[:, None].expand_as(first)]
    )
    pasted = float((~theirs).float().mean())  # a partner may have some equal pixels
    assert pasted >= float(share) - 1e-6
    moved = theirs[partners != torch.arange(N)].any(0)
    assert float(share) == pytest.approx(1 - float(moved.float().mean()), abs=0.1)


def mixed_views(share: float) -> Mixed:
    draw = torch.Generator().manual_seed(1)
    first, second = (torch.rand(N, 3, SIDE, SIDE, generator=draw) for _ in range(2))
    partners = torch.randperm(N, generator=draw)
    return Mixed(first, second, partners, torch.tensor(share))


def test_the_mixed_loss_of_moco_is_a_cross_entropy_of_two_labels() -> None:
    """−λ log p(own key) − (1 − λ) log p(partner's key), each among the queue (i-Mix)."""
    method = build(*METHODS[0])
    views = mixed_views(0.3)
    loss = float(CutMixed(method, 1.0).training_loss(views).detach())
    with torch.no_grad():
        q = F.normalize(method.f_q(views.first), dim=1).double().numpy()
        k = F.normalize(method.f_k(views.second), dim=1).double().numpy()
    queue = method.queue.features.double().numpy()
    temperature = method.options.temperature

    def surprise(query: np.ndarray, key: np.ndarray) -> float:
        logits = np.exp(np.array([query @ key, *(queue @ query)]) / temperature)
        return -math.log(logits[0] / logits.sum())

    wanted = [
        0.3 * surprise(q[i], k[i]) + 0.7 * surprise(q[i], k[int(views.partners[i])])
        for i in range(N)
    ]
    assert loss == pytest.approx(np.mean(wanted), rel=1e-4)
    assert method._new_keys is not None
    np.testing.assert_allclose(method._new_keys.numpy(), k, atol=1e-5)  # in the images' order


@pytest.mark.parametrize("method", METHODS, ids=lambda one: one[0].__name__)
def test_the_mixed_loss_is_linear_in_the_share(method: Any) -> None:
    """With λ = 1 it is the method's loss; with λ = 0 that with the partners' second views."""
    made = build(*method)
    guarded = CutMixed(made, 1.0)
    first, second, partners, _ = mixed_views(0.0)

    def loss(share: float) -> float:
        return float(guarded.training_loss(mixed_views(share)).detach())

    assert loss(1.0) == pytest.approx(float(made.training_loss((first, second)).detach()), rel=1e-5)
    theirs = float(made.training_loss((first, second[partners])).detach())
    assert loss(0.0) == pytest.approx(theirs, rel=1e-5)
    assert loss(0.25) == pytest.approx(0.25 * loss(1.0) + 0.75 * loss(0.0), rel=1e-5)


# -- localized cropping -------------------------------------------------------------------------


def test_the_region_is_the_first_crop_and_a_fifth_of_it_on_each_side() -> None:
    rng = np.random.default_rng(0)
    sizes = rng.integers(20, 200, (300, 2))
    corner = np.floor(rng.random((300, 2)) * sizes * 0.7)
    extent = np.maximum(1, np.floor(rng.random((300, 2)) * (sizes - corner)))
    boxes = np.concatenate([corner, extent], axis=1).astype(np.float32)
    found = enlarged(boxes, sizes, 0.2)
    for row, (top, left, height, width), (high, wide) in zip(found, boxes, sizes, strict=True):
        y0, x0 = max(0, top - round(0.2 * height)), max(0, left - round(0.2 * width))
        y1 = min(high, top + height + round(0.2 * height))
        x1 = min(wide, left + width + round(0.2 * width))
        assert row.tolist() == [y0, x0, y1 - y0, x1 - x0]


OPTIONS = ViewOptions(size=SIDE, scale=(0.2, 1.0), blur=0.0)


def test_a_view_within_a_region_is_the_view_of_that_part_of_the_image(
    small_images: ArrayImages,
) -> None:
    """Cutting the region out first, and taking a view of it, gives the same pixels."""
    region = np.array([[5, 3, 20, 24]], dtype=np.float32)
    for index in range(6):
        batch = batch_of([index], small_images)
        inside = random_view(batch, OPTIONS, SIDE, 1, within=region)
        box = view_boxes(batch, OPTIONS, 1, within=region)[0]
        assert (box[:2] >= (5, 3)).all()
        assert (box[:2] + box[2:] <= (25, 27)).all()
        part = torch.from_numpy(small_images.pixels[[index], 5:25, 3:27].copy())
        cut = UniformBatch(part, np.array([index]), epoch=2, seed=5)
        torch.testing.assert_close(inside, random_view(cut, OPTIONS, SIDE, 1), atol=2e-5, rtol=0)


def test_the_second_crop_lies_within_the_region_and_the_views_change_places(
    small_images: ArrayImages,
) -> None:
    method = build(*METHODS[0])
    guarded = LocallyCropped(method, 0.2)
    options = method.training_options.views
    swapped = 0
    for epoch in range(8):
        batch = batch_of(list(range(48)), small_images, epoch)
        near = random_view(batch, options, SIDE, 0)
        region = enlarged(view_boxes(batch, options, 0), batch.sizes, 0.2)
        other = random_view(batch, options, SIDE, 1, within=region)
        first, second = guarded.views(batch)
        for index in range(48):
            turn = not first[index].equal(near[index])
            pair = (other, near) if turn else (near, other)
            assert first[index].equal(pair[0][index])
            assert second[index].equal(pair[1][index])
            swapped += turn
    assert 150 < swapped < 234  # of 384


def test_a_view_is_the_same_whatever_the_batch(small_images: ArrayImages) -> None:
    guarded = LocallyCropped(build(*METHODS[1]), 0.2)
    whole = guarded.views(batch_of(list(range(12)), small_images))
    for part in ([7, 2, 5], [2]):
        for view, all_of_them in zip(
            guarded.views(batch_of(part, small_images)), whole, strict=True
        ):
            torch.testing.assert_close(view, all_of_them[part], atol=1e-6, rtol=0)


# -- which methods ------------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [CutMixed, LocallyCropped])
def test_a_method_without_two_views_is_refused(wrap: Any) -> None:
    with pytest.raises(TypeError, match="RotNet is no TwoViewMethod"):
        wrap(build(RotNet, RotNetOptions, {}), 1.0)


@pytest.mark.parametrize("options", [CutMixOptions(), LocalizedCroppingOptions()])
def test_check_knows_which_methods_have_two_views(options: Any) -> None:
    for _, model, given in METHODS:
        assert list(options.method_problems(model.model_validate(given))) == []
    (problem,) = options.method_problems(RotNetOptions())
    assert problem == "the method does not compare two views of an image: exclude these cells"


def test_partners_are_in_one_process() -> None:
    options: SSLOptions = SimCLROptions(devices=2, norm_groups=2)
    (problem,) = CutMixOptions().method_problems(options)
    assert problem.startswith("devices = 2: ")
    assert list(LocalizedCroppingOptions().method_problems(options)) == []


def numbers(views: Any) -> list[Tensor]:
    return [one for one in views if isinstance(one, Tensor)]


@pytest.mark.parametrize(
    "wrap", [lambda one: CutMixed(one, 1.0), lambda one: LocallyCropped(one, 0.2)]
)
@pytest.mark.parametrize("method", METHODS, ids=lambda one: one[0].__name__)
def test_every_method_on_two_views_can_be_wrapped(
    method: Any, wrap: Any, small_images: ArrayImages
) -> None:
    guarded = wrap(build(*method))
    views = guarded.views(batch_of(list(range(8)), small_images))
    assert all(one.isfinite().all() for one in numbers(views))
    loss = guarded.training_loss(views)
    loss.backward()
    assert loss.isfinite()
    assert any(one.grad is not None for one in guarded.encoder.parameters())
