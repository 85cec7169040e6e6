"""The search finds what is reachable, and parts of a set do not lead to the set."""

from __future__ import annotations

import numpy as np
import torch

from backbench.images import ArrayImages, ImageSet, Subset, Unlabelled
from tests.contract.hygiene.conftest import Secrets


def test_the_search_finds_what_is_there():
    secret = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    secrets = Secrets(images=[secret])
    others = np.zeros((5, 4, 4, 3), np.uint8)

    class Holder:
        __slots__ = ("inner",)

        @property
        def made(self):
            return [{"x": self.inner}]

    holder = Holder()
    holder.inner = others
    assert not secrets.found(holder)
    stacked = np.stack([others[0], secret])
    holder.inner = stacked
    assert secrets.found(holder)
    assert secrets.found((stacked[:1],))  # by the array that it is a part of
    assert secrets.found(lambda: stacked)
    assert not secrets.found(lambda: stacked, closures=False)
    assert secrets.found(ArrayImages(stacked, np.zeros(2, np.int64), "ab").image)
    assert secrets.found(torch.from_numpy(stacked))


def test_parts_of_a_set_do_not_hold_the_set():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (6, 4, 4, 3), dtype=np.uint8)
    labels = np.arange(6) + 10
    uniform = ArrayImages(pixels, labels, list("abcdef"))

    class Ragged(ImageSet):
        def image(self, index):
            return pixels[index]

    rows = np.array([4, 1])
    rest = Secrets(images=pixels[[0, 2, 3, 5]], labels=[labels])
    for images in (uniform, Ragged(labels, list("abcdef"))):
        part, bare = Subset(images, rows), Unlabelled(images)
        for position, row in enumerate(rows):
            np.testing.assert_array_equal(part.image(position), pixels[row])
            np.testing.assert_array_equal(bare.image(int(row)), pixels[row])
        assert part.labels.tolist() == [14, 11]
        assert not rest.found(part, closures=False)
        assert not Secrets(labels=[labels]).found(bare, closures=False)
