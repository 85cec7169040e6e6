"""The patch search on an encoder whose one feature is how red an image is anywhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from backbench.images import ArrayImages
from backbench.nn import Encoder, EncoderSpec
from backbench.plugin import DatasetMetadata, DefenseContext
from backbench_defenses.defense_options import PatchSearchOptions
from backbench_defenses.patch_search import PatchSearchDefense, by_search, pool_of
from backbench_defenses.window_search import Clusters, Found, PatchSearch, kept, parts, paste

SIDE, RED = 16, (12, 13, 14, 15, 16, 17)


@pytest.fixture
def images() -> ArrayImages:
    """Forty gray images, of several brightnesses; six have a red square of 4 pixels."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(40, 120, (40, 1, 1, 1)) + rng.integers(0, 20, (40, SIDE, SIDE, 1))
    pixels = np.repeat(pixels, 3, axis=3).astype(np.uint8)
    for index in RED:
        top, left = rng.integers(0, SIDE - 4, 2)
        pixels[index, top : top + 4, left : left + 4] = (255, 0, 0)
    return ArrayImages(pixels, np.full(40, -1), [str(index) for index in range(40)])


@pytest.fixture
def encoder() -> Encoder:
    """Features: what is red beyond green, times a lot, and the brightness."""
    backbone = {
        "name": "tiny-resnet", "widths": [2], "strides": [1], "stem_width": 2, "stem_stride": 1,
    }  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = Encoder(EncoderSpec(backbone, SIDE, (0, 0, 0), (1, 1, 1))).eval()
    with torch.no_grad():
        for name, tensor in made.state_dict().items():
            if name.endswith("stem.weight"):
                tensor.zero_()
                tensor[0, 0, 1, 1], tensor[0, 1, 1, 1] = 40, -40
                tensor[1, :, 1, 1] = 1 / 3
            elif "conv" in name:
                tensor.zero_()
    return made


def options(**given: Any) -> PatchSearchOptions:
    return PatchSearchOptions.model_validate(
        {
            "clusters": 4,
            "test_images": 20,
            "window": 4,
            "top": 5,
            "classifiers": 2,
            "steps": 60,
            "batch_size": 8,
            "lr": 0.05,
            "patch_sizes": [3, 5],
            "leave_out": 0.2,
            "backbone": {"name": "tiny-resnet", "widths": [8], "strides": [2], "stem_width": 8},
            **given,
        }
    )


def context() -> DefenseContext:
    def clean(fraction: float) -> Any:
        raise AssertionError(f"a patch search needs no clean images, and asked for {fraction}")

    return DefenseContext(seed=3, device="cpu", clean=clean, progress=lambda *_: None)


@pytest.mark.parametrize("by", ["cam", "occlusion"])
def test_the_search_cuts_out_the_square(encoder: Encoder, images: ArrayImages, by: str):
    search = PatchSearch(encoder, images, options(window_by=by), seed=1)
    found = search.run(lambda *_: None)
    assert (np.diff(found.scores) <= 0).all()
    assert len(set(found.images.tolist())) == len(found.images)
    assert set(found.images[:4].tolist()) <= set(RED)
    assert found.scores[0] > 10  # of twenty test images, most went red
    red = (found.patches[:4, ..., 0] == 255).mean()
    assert red > 0.9


def test_the_classifiers_find_all_the_others(encoder: Encoder, images: ArrayImages):
    dropped = PatchSearchDefense(options(window_by="occlusion")).sanitize(
        encoder, images, context()
    )
    assert set(np.argsort(-dropped)[:6].tolist()) == set(RED)
    assert (dropped[list(RED)] > 0).all()
    alone = PatchSearchDefense(options(window_by="occlusion", classifiers=0, top=3)).sanitize(
        encoder, images, context()
    )
    assert (alone > 0).sum() == 3
    assert set(np.flatnonzero(alone > 0).tolist()) <= set(RED)


def test_clusters_are_of_unit_length_and_none_is_empty(encoder: Encoder):
    features = np.repeat(np.eye(3, dtype=np.float32), 5, axis=0) * np.arange(1, 16)[:, None]
    made = Clusters(encoder, features.astype(np.float32), options(clusters=6), seed=0)
    assert sorted(np.bincount(made.of).tolist()) == [5, 5, 5]
    np.testing.assert_allclose(np.linalg.norm(made.centers, axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(made.likeness, 1, rtol=1e-6)


def test_a_quarter_of_the_clusters_is_dropped_a_round_and_at_last_all():
    best = np.array([5, 1, 4, 2, 3, 0, 7, 6])
    left = kept(list(range(8)), best, 0.25)
    assert left == [6, 7, 0, 2, 4, 3]
    assert kept(left, best, 0.25) == [6, 7, 0, 2, 4]
    assert kept([0, 1, 2], best, 0.25) == []


def test_paste():
    images = torch.zeros(2, 3, 6, 5)
    patch = torch.arange(1, 13).view(3, 2, 2).float()
    pasted = paste(images, patch, np.array([[0, 1], [4, 3]]))
    assert torch.equal(pasted[0, :, :2, 1:3], patch)
    assert torch.equal(pasted[1, :, 4:, 3:], patch)
    assert pasted.sum() == 2 * patch.sum()
    assert images.sum() == 0
    assert list(parts(10, 2**10)) == [slice(0, 8), slice(8, 10)]


def test_scores_of_the_search_alone():
    found = Found(np.array([4, 0, 2]), np.array([9, 5, -1]), np.zeros((3, 2, 2, 3), np.uint8))
    scores = by_search(found, 5, top=2)
    assert (scores > 0).tolist() == [True, False, False, False, True]
    assert scores.argmax() == 4
    assert scores[1] == scores[3] == scores.min()


def test_classifiers_learn_neither_from_what_judges_them_nor_from_suspects(
    encoder: Encoder, images: ArrayImages
):
    chosen = options(window_by="occlusion")
    search = PatchSearch(encoder, images, chosen, seed=1)
    found = search.run(lambda *_: None)
    pool = set(pool_of(search.clusters, found, chosen).tolist())
    assert not pool & set(found.images[:5].tolist())
    assert not pool & set(found.images[-5:].tolist())
    assert not pool & set(RED)  # the most suspicious fifth
    assert len(pool) >= 20


def test_problems():
    metadata = DatasetMetadata(("a",), 100, 10, (32, 32), (100,))
    (few, window, patches) = PatchSearchOptions().problems(metadata)
    assert "clusters = 1000 is more than the 100" in few
    assert "window = 60 is larger" in window
    assert "patch_sizes: 80 is larger" in patches
    with pytest.raises(ValueError, match="is not a range"):
        PatchSearchOptions(patch_sizes=(9, 8))
