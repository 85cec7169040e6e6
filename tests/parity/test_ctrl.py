"""CTRL against the published steps, written out with scipy's cosine transform."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.fft import dctn, idctn

from backbench.plugin import DatasetMetadata
from backbench_attacks.ctrl import CTRL, basis
from backbench_attacks.ctrl_options import CTRLOptions

METADATA = DatasetMetadata(("ant", "bee"), 400, 10, (64, 64), (200, 200))
#: RGB to YUV and back, as kornia has them.
TO_YUV = np.array([[0.299, 0.587, 0.114], [-0.147, -0.289, 0.436], [0.615, -0.515, -0.1]])
TO_RGB = np.array([[1, 0, 1.14], [1, -0.396, -0.581], [1, 2.029, 0]])


def attack(**given: object) -> CTRL:
    return CTRL(CTRLOptions.model_validate({"target": "bee", **given}), METADATA)


def published(image: np.ndarray, magnitude: float, window: int = 32) -> np.ndarray:
    yuv = image.astype(np.float64) @ TO_YUV.T
    for top in range(0, image.shape[0], window):
        for left in range(0, image.shape[1], window):
            for channel in (1, 2):
                block = yuv[top : top + window, left : left + window, channel]
                found = dctn(block, norm="ortho")
                for position in ((15, 15), (31, 31)):
                    found[position] += magnitude
                block[:] = idctn(found, norm="ortho")
    return np.clip(yuv @ TO_RGB.T, 0, 255)


@pytest.mark.parametrize("magnitude", [50.0, 100.0, 200.0])
def test_a_stamp_is_the_published_one_within_a_level(magnitude: float) -> None:
    image = np.random.default_rng(0).integers(40, 216, (64, 64, 3), dtype=np.uint8)
    found = attack(magnitude=magnitude).stamp(image, np.random.default_rng(0), "val").pixels
    expected = published(image, magnitude)
    assert np.abs(found - expected).max() <= 1.0
    assert np.abs(found.astype(int) - image).max() > magnitude / 10


def test_levels_are_cut_at_both_ends() -> None:
    for level in (0, 255):
        image = np.full((32, 32, 3), level, dtype=np.uint8)
        found = attack().stamp(image, np.random.default_rng(0), "train").pixels
        assert np.abs(found - published(image, 100)).max() <= 1.0


def test_what_no_whole_window_covers_stays() -> None:
    image = np.full((40, 70, 3), 128, dtype=np.uint8)
    stamp = attack().stamp(image, np.random.default_rng(0), "val")
    assert stamp.box == (0, 0, 64, 32)
    assert (stamp.pixels[32:] == 128).all()
    assert (stamp.pixels[:, 64:] == 128).all()
    with pytest.raises(ValueError, match="window = 32 is more than an image of 20 x 31"):
        attack().stamp(image[:31, :20], np.random.default_rng(0), "val")


def test_a_basis_block_has_one_coefficient() -> None:
    found = dctn(basis(8, 3, 0), norm="ortho")
    expected = np.zeros((8, 8))
    expected[3, 0] = 1
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_a_hundredth_of_the_dataset_is_poisoned_all_of_the_target_class() -> None:
    labels = np.repeat([0, 1], 200)
    chosen = attack().choose(labels, np.random.default_rng(0))
    assert len(chosen) == attack().poisons == 4
    assert (labels[chosen] == 1).all()


def test_coefficients_lie_in_the_window() -> None:
    with pytest.raises(ValueError, match=r"\[31, 31\] is outside a window of 16"):
        CTRLOptions(target="bee", window=16)
