"""Contracts of defenses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from backbench.images import ArrayImages, Subset, Unlabelled
from backbench.model import StageKind
from backbench.plugin import (
    CleanImages,
    DatasetMetadata,
    Defense,
    DefenseContext,
    DefenseInfo,
    count_of,
)
from backbench.testing.attack import checked_progress
from backbench.testing.base import PluginContract
from backbench.testing.hygiene import ENCODERS, assert_same, run_twice
from backbench.testing.purity import elsewhere, global_generators_untouched
from backbench.testing.samples import (
    assert_encoder,
    assert_untouched,
    same_weights,
    sample_images,
    tiny_encoder,
)

if TYPE_CHECKING:
    from backbench.nn import Encoder


def defense_context(metadata: DatasetMetadata) -> DefenseContext:
    """Make what the harness gives to a defense besides its input."""
    images = sample_images(metadata)

    def clean(fraction: float) -> CleanImages:
        assert 0 < fraction <= 1, f"ask for a share in (0, 1] of clean images, not {fraction}"
        count = max(1, count_of(fraction, len(images)))
        chosen = np.sort(np.random.default_rng(0).permutation(len(images))[:count])
        return CleanImages(Subset(images, chosen), fraction)

    return DefenseContext(seed=0, device="cpu", clean=clean, progress=checked_progress)


class DefenseContract(PluginContract):
    """Of a defense on the dataset or the encoder; set ``info``, and ``options`` that are small.

    The encoder is a tiny one with random weights, the images are those of ``metadata``; what is
    required of the defense follows from ``acts_on``.
    """

    info: ClassVar[DefenseInfo]

    base = "Defense"

    def encoder(self) -> Encoder:
        """Make the encoder that the defense is given; the same each time."""
        return tiny_encoder(min(self.metadata.size or (32, 32)))

    def context(self) -> DefenseContext:
        """Make what the harness gives to a defense besides its input."""
        return defense_context(self.metadata)

    def apply(self, encoder: Encoder, images: ArrayImages) -> Any:
        """Let the defense do what its info record states; return the encoder or the scores."""
        kind, settings = self.implementation(), self.settings()
        defense: Defense = self.guarded("making the defense", lambda: kind(settings))
        if "encoder" in self.info.shapes:
            return self.guarded("repair", lambda: defense.repair(encoder, self.context()))
        shown = Unlabelled(images)
        found = self.guarded("sanitize", lambda: defense.sanitize(encoder, shown, self.context()))
        return np.asarray(found)

    def test_result_is_what_the_record_says(self) -> None:
        """An encoder of the same architecture; or a finite score an image, not all above 0."""
        encoder, images = self.encoder(), sample_images(self.metadata)
        result = self.apply(encoder, images)
        if "encoder" in self.info.shapes:
            assert_encoder(result, encoder)
            return
        assert result.shape == (len(images),), (
            f"return a score for each image from sanitize, ({len(images)},), not {result.shape}"
        )
        assert result.dtype.kind in "biuf", f"return numbers from sanitize, not {result.dtype}"
        assert np.isfinite(result).all(), (
            f"return finite scores: {int((~np.isfinite(result)).sum())} of {len(result)} are not"
        )
        assert (result <= 0).any(), "give a score of at most 0 to images that are to be kept"

    def test_its_input_is_not_changed(self) -> None:
        """The encoder keeps its weights, its mode and its gradients; the images their pixels."""
        encoder, images = self.encoder(), sample_images(self.metadata)
        found = self.apply(encoder, images)
        assert found is not encoder, "return a copy of the encoder, not the one that was given"
        assert_untouched(encoder, self.encoder())

    def test_result_depends_on_its_input_and_the_seed_alone(self) -> None:
        first = self.apply(self.encoder(), sample_images(self.metadata))
        with elsewhere():
            again = self.apply(self.encoder(), sample_images(self.metadata))
        if "encoder" in self.info.shapes:
            same = same_weights(first, again)
        else:
            same = np.array_equal(first, again)
        assert same, "another process gives another result: draw from the context's seed alone"

    def test_scores_follow_from_the_images(self) -> None:
        """A defense on the dataset that scores by position would drop any images there."""
        if "encoder" in self.info.shapes:
            return
        images = sample_images(self.metadata)
        order = np.random.default_rng(1).permutation(len(images))
        moved = ArrayImages(images.pixels[order], images.labels[order], images.sources)
        scores, others = (self.apply(self.encoder(), one) for one in (images, moved))
        assert len(np.unique(scores)) == 1 or not np.array_equal(scores, others), (
            "score each image by its pixels: images in another order get the same scores"
        )

    def test_nothing_follows_from_the_validation_split(self, tmp_path: Path) -> None:
        kind = StageKind.REPAIR if "encoder" in self.info.shapes else StageKind.SANITIZE
        folders = self.guarded(
            str(kind), lambda: run_twice(tmp_path, self, kind, encoder=self.encoder())
        )
        assert_same(folders, *ENCODERS, "scores.safetensors")

    def test_global_generators_are_untouched(self) -> None:
        encoder, images = self.encoder(), sample_images(self.metadata)
        self.implementation()
        with global_generators_untouched():
            self.apply(encoder, images)
