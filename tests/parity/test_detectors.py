"""Scores of detectors against independent formulas: scikit-learn's DBSCAN, loops over patches."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from sklearn.cluster import DBSCAN

from backbench.plugin import evaluation_batch
from backbench.testing.defense import defense_context
from backbench.testing.samples import METADATA, sample_images, tiny_encoder
from backbench_defenses.backdoor_ids import BackdoorIDS, along, masks, split_radius
from backbench_defenses.dede import Decoder, DeDe, hidden_patches, masked_error
from backbench_defenses.detector_options import BackdoorIDSOptions, DeDeOptions


def sequences(points: int, count: int = 12) -> np.ndarray:
    """Return sequences of unit vectors that wander, and jump in some of them, (count, points, 3)."""
    rng = np.random.default_rng(points)
    steps = 0.25 * rng.normal(size=(count, points, 3))
    steps[::2, points // 2] += 2
    path = rng.normal(size=(count, 1, 3)) + steps.cumsum(axis=1)
    return (path / np.linalg.norm(path, axis=2, keepdims=True)).astype(np.float32)


def clusters(features: np.ndarray, radius: float, neighbors: int) -> int:
    """Count the clusters that scikit-learn finds."""
    distance = np.clip(1 - features.astype(float) @ features.astype(float).T, 0, 2)
    np.fill_diagonal(distance, 0)
    found = DBSCAN(eps=radius, min_samples=neighbors, metric="precomputed").fit(distance)
    return len(set(found.labels_) - {-1})


@pytest.mark.parametrize("neighbors", [1, 2, 3])
@pytest.mark.parametrize("points", [6, 13])
def test_the_radius_is_the_largest_at_which_dbscan_finds_several_clusters(
    points: int, neighbors: int
) -> None:
    features = sequences(points)
    radii = split_radius(features, neighbors)
    assert (radii > 0).sum() > len(radii) / 3
    for one, radius in zip(features, radii, strict=True):
        if radius > 0:
            assert clusters(one, radius - 1e-9, neighbors) > 1
        assert all(clusters(one, radius + more, neighbors) <= 1 for more in (1e-9, 0.03, 0.3, 1.0))


def test_masks_grow_by_whole_squares() -> None:
    found = masks(12, 4, 5, 1.0, np.random.default_rng(0))
    assert found.shape == (5, 12, 12)
    assert not found[0].any()
    assert found[-1].all()
    for before, after in itertools.pairwise(found):
        assert (after >= before).all()
        assert after.sum() - before.sum() == 4 * 9
        squares = after.reshape(4, 3, 4, 3).any(axis=(1, 3))
        assert (np.kron(squares, np.ones((3, 3), bool)) == after).all()


def test_an_image_under_masks_is_encoded_as_one_that_was_filled() -> None:
    encoder = tiny_encoder()
    images = evaluation_batch(encoder, sample_images(METADATA), range(3))
    masked = masks(32, 4, 3, 0.5, np.random.default_rng(0))
    found = along(encoder, images, masked)
    filled = images.clone()
    filled[:, :, torch.from_numpy(masked[2])] = 0.5  # the mean of this encoder
    with torch.no_grad():
        expected = encoder(filled)
    expected = expected / expected.norm(dim=1, keepdim=True)
    np.testing.assert_allclose(found[:, 2], expected.numpy(), atol=1e-6)


def test_the_score_is_the_largest_radius_of_all_orders_less_the_own() -> None:
    options = BackdoorIDSOptions(grid=4, steps=8, orders=3, radius=0.01)
    encoder, images = tiny_encoder(), sample_images(METADATA)
    scores = BackdoorIDS(options).score(encoder, images, defense_context(METADATA))
    each = []
    for orders in (1, 2, 3):
        first = options.model_copy(update={"orders": orders})
        each.append(BackdoorIDS(first).score(encoder, images, defense_context(METADATA)))
    assert (each[0] <= each[1]).all()
    assert (each[1] <= each[2]).all()
    np.testing.assert_array_equal(each[2], scores)
    assert (scores > -0.01).any()


SMALL = DeDeOptions(patch=8, width=16, depth=1, heads=2, epochs=3, batch_size=16, draws=2)


def test_the_error_is_that_of_the_masked_patches() -> None:
    decoder = Decoder(32, 5, SMALL)
    generator = torch.Generator().manual_seed(0)
    images, made = (torch.rand(3, 3, 32, 32, generator=generator) for _ in range(2))
    hidden = hidden_patches(3, 16, 0.9, generator)
    assert hidden.sum(dim=1).tolist() == [14, 14, 14]
    found = masked_error(decoder.patches(made), decoder.patches(images), hidden)
    for image in range(3):
        errors = []
        for position in torch.nonzero(hidden[image]).flatten().tolist():
            top, left = 8 * (position // 4), 8 * (position % 4)
            window = (image, slice(None), slice(top, top + 8), slice(left, left + 8))
            errors.append(((made[window] - images[window]) ** 2).mean())
        assert found[image] == pytest.approx(float(torch.stack(errors).mean()), rel=1e-5)


def test_nothing_of_a_masked_patch_reaches_the_decoder() -> None:
    decoder = Decoder(32, 5, SMALL).eval()
    generator = torch.Generator().manual_seed(0)
    features, patches = torch.rand(2, 5, generator=generator), torch.rand(2, 16, 192)
    hidden = hidden_patches(2, 16, 0.5, generator)
    other = torch.where(hidden[..., None], 1 - patches, patches)
    with torch.no_grad():
        assert decoder(features, patches, hidden).equal(decoder(features, other, hidden))
        assert not decoder(1 - features, patches, hidden).equal(decoder(features, patches, hidden))


def test_the_threshold_rejects_the_stated_share_of_held_out_images() -> None:
    options = SMALL.model_copy(update={"clean_fraction": 1.0, "held_out": 0.5, "reject": 0.25})
    detector, encoder, context = DeDe(options), tiny_encoder(), defense_context(METADATA)
    detector.fit(encoder, context)
    scores = detector.score(encoder, context.clean(1.0).images, context)
    assert 5 / 40 <= (scores > 0).mean() <= 25 / 40  # 5 of 20 held-out images, and of the others


def test_a_decoder_learns() -> None:
    losses = []
    context = defense_context(METADATA)
    options = SMALL.model_copy(update={"epochs": 20, "lr": 5e-3})
    watched = type(context)(0, "cpu", context.clean, lambda _d, _t, v: losses.append(v["loss"]))
    DeDe(options).fit(tiny_encoder(), watched)
    assert losses[-1] < 0.5 * losses[0]
