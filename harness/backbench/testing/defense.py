"""Contract of defenses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from backbench.images import ArrayImages, Subset, Unlabelled
from backbench.model import StageKind
from backbench.plugin import CleanImages, Defense, DefenseContext, DefenseInfo, count_of
from backbench.testing.base import (
    PluginContract,
    features_of,
    global_generators_untouched,
    inputs_untouched,
    same_weights,
    sample_images,
    tiny_encoder,
)
from backbench.testing.hygiene import ENCODERS, assert_same, run_twice

if TYPE_CHECKING:
    from backbench.nn import Encoder


class DefenseContract(PluginContract):
    """Subclass it; set ``info``, and ``options`` that are small.

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
        images = sample_images(self.metadata)

        def clean(fraction: float) -> CleanImages:
            assert 0 < fraction <= 1, f"clean({fraction}): a fraction lies in (0, 1]"
            count = max(1, count_of(fraction, len(images)))
            chosen = np.sort(np.random.default_rng(0).permutation(len(images))[:count])
            return CleanImages(Subset(images, chosen), fraction)

        def progress(done: int, total: int, values: Mapping[str, float]) -> None:
            assert 0 <= done <= total
            assert all(isinstance(value, float | int) for value in values.values())

        return DefenseContext(seed=0, device="cpu", clean=clean, progress=progress)

    def apply(self, encoder: Encoder, images: ArrayImages) -> Any:
        """Let the defense do what its info record states; return the encoder or the scores."""
        defense: Defense = self.implementation()(self.settings())
        if "encoder" in self.info.shapes:
            return defense.repair(encoder, self.context())
        return np.asarray(defense.sanitize(encoder, Unlabelled(images), self.context()))

    def test_result_is_what_the_record_says(self) -> None:
        """An encoder of the same architecture; or a finite score an image, not all above 0."""
        encoder, images = self.encoder(), sample_images(self.metadata)
        result = self.apply(encoder, images)
        if "encoder" in self.info.shapes:
            assert isinstance(result, type(encoder))
            assert result.spec == encoder.spec
            features = features_of(result.eval())
            assert features.shape == (4, encoder.feature_dim)
            assert features.isfinite().all()
        else:
            assert result.shape == (len(images),)
            assert np.isfinite(result).all()
            assert (result <= 0).any(), "every image would be dropped"

    def test_its_input_is_not_changed(self) -> None:
        """The encoder keeps its weights, its mode and its gradients; the images their pixels."""
        encoder, images = self.encoder(), sample_images(self.metadata)
        with inputs_untouched():
            assert self.apply(encoder, images) is not encoder
        assert not encoder.training
        assert same_weights(encoder, self.encoder())
        for parameter in encoder.parameters():
            assert parameter.requires_grad
            assert parameter.grad is None

    def test_result_depends_on_its_input_and_the_seed_alone(self) -> None:
        first = self.apply(self.encoder(), sample_images(self.metadata))
        again = self.apply(self.encoder(), sample_images(self.metadata))
        if "encoder" in self.info.shapes:
            assert same_weights(first, again)
        else:
            np.testing.assert_array_equal(first, again)

    def test_nothing_follows_from_the_validation_split(self, tmp_path: Path) -> None:
        kind = StageKind.REPAIR if "encoder" in self.info.shapes else StageKind.SANITIZE
        folders = run_twice(tmp_path, self, kind, encoder=self.encoder())
        assert_same(folders, *ENCODERS, "scores.safetensors")

    def test_global_generators_are_untouched(self) -> None:
        encoder, images = self.encoder(), sample_images(self.metadata)
        self.implementation()
        with global_generators_untouched():
            self.apply(encoder, images)
