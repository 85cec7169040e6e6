"""Contract of defenses on the input."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from backbench.images import ArrayImages, Unlabelled
from backbench.model import StageKind
from backbench.plugin import Defense, DefenseInfo
from backbench.testing.base import assert_refuses
from backbench.testing.defense import defense_context
from backbench.testing.fresh import CellsContract
from backbench.testing.hygiene import assert_same, run_twice
from backbench.testing.purity import assert_unused, elsewhere, watched
from backbench.testing.samples import (
    assert_untouched,
    other_encoder,
    sample_images,
    tiny_encoder,
)

if TYPE_CHECKING:
    from backbench.nn import Encoder


#: Least rank correlation of the scores of images that are shown in two orders. A detector may draw
#: for each position, so that it is below 1.
_AGREEMENT = 0.5


@dataclass(frozen=True)
class _Scored:
    """Input and scores of a detector, and the global generators that it has used."""

    encoder: Encoder
    scores: NDArray[Any]
    used: list[str]


#: The scores that tests of a contract share.
_SCORED: WeakKeyDictionary[type[InputDefenseContract], _Scored] = WeakKeyDictionary()


class InputDefenseContract(CellsContract):
    """Of a defense that scores images at test time; set ``info`` and small ``options``.

    The encoder is a tiny one with random weights, the images are those of ``metadata``.
    """

    info: ClassVar[DefenseInfo]

    base = "Defense"

    def encoder(self) -> Encoder:
        """Make the encoder that is guarded; the same each time."""
        return tiny_encoder(min(self.metadata.size or (32, 32)))

    def unfitted(self) -> Defense:
        """Make the detector anew, as each worker does."""
        kind, settings = self.implementation(), self.settings()
        made: Defense = self.guarded("making the defense", lambda: kind(settings))
        return made

    def detector(self, encoder: Encoder) -> Defense:
        """Make a detector that is ready to score: fitted, if its record states that it learns."""
        made = self.unfitted()
        if self.info.learns:
            self.guarded("fit", lambda: made.fit(encoder, defense_context(self.metadata)))
        return made

    def scores(
        self, encoder: Encoder, detector: Defense | None = None, images: ArrayImages | None = None
    ) -> NDArray[Any]:
        """Let a detector score images; without one, make it first."""
        shown = Unlabelled(images or sample_images(self.metadata))
        made, context = detector or self.detector(encoder), defense_context(self.metadata)
        return np.asarray(self.guarded("score", lambda: made.score(encoder, shown, context)))

    def _scored(self) -> _Scored:
        kind = type(self)
        if kind not in _SCORED:
            self.implementation()  # importing torch is not scoring
            encoder = self.encoder()
            _SCORED[kind] = _Scored(encoder, *watched(lambda: self.scores(encoder)))
        return _SCORED[kind]

    def of_cell(self, cell: int) -> dict[str, Any]:
        """Return the scores: with another encoder in another cell."""
        if cell == 0:
            return {"scores": self._scored().scores}
        return {"scores": self.scores(other_encoder(self.encoder()))}

    def test_it_acts_on_the_input(self) -> None:
        """The info record states it, since the planner reads only that."""
        assert isinstance(self.info, DefenseInfo), "announce a DefenseInfo"
        assert "input" in self.info.shapes, 'announce it with acts_on="input"'

    def test_each_image_has_a_finite_score(self) -> None:
        found, images = self._scored().scores, len(sample_images(self.metadata))
        assert found.shape == (images,), (
            f"return a score for each image from score, ({images},), not {found.shape}"
        )
        assert found.dtype.kind in "biuf", f"return numbers from score, not {found.dtype}"
        wrong = int((~np.isfinite(found)).sum())
        assert not wrong, f"return finite scores: {wrong} of {images} are not"

    def test_its_input_is_not_changed(self) -> None:
        """The encoder keeps its weights, its mode and its gradients; the images their pixels."""
        assert_untouched(self._scored().encoder, self.encoder())

    def test_scores_depend_on_encoder_images_and_seed_alone(self) -> None:
        scored = self._scored()
        assert_unused(scored.used)
        with elsewhere():
            again = self.scores(self.encoder())
        assert np.array_equal(scored.scores, again), (
            "another process gives other scores: draw from the context's seed alone"
        )

    def test_scores_follow_from_the_images(self) -> None:
        """A detector that scores by position would know the order in which images are shown."""
        from scipy.stats import rankdata

        images = sample_images(self.metadata)
        order = np.random.default_rng(1).permutation(len(images))
        moved = ArrayImages(images.pixels[order], images.labels[order], images.sources)
        scores, others = self._scored().scores, self.scores(self.encoder(), images=moved)
        if len(np.unique(scores)) == 1:
            return
        assert not np.array_equal(scores, others), (
            "score each image by its pixels: images in another order get the same scores"
        )
        agreement = np.corrcoef(rankdata([scores[order], others], axis=1))[0, 1]
        assert agreement >= _AGREEMENT, (
            "return the score of image i at position i: in another order of the images they get "
            f"other scores, with a rank correlation of {agreement:.2f}"
        )

    def test_it_passes_an_image_that_it_has_learned_from(self) -> None:
        """The own threshold is 0: a limit that is not subtracted rejects every image."""
        if not self.info.learns:
            return
        assert (self._scored().scores <= 0).any(), (
            "give a score of at most 0 to images that are to pass: subtract the threshold, since "
            "every clean image is rejected"
        )

    def test_a_second_set_is_scored_as_the_first(self) -> None:
        """One object may score several sets: nothing of the first is left."""
        encoder = self.encoder()
        detector = self.detector(encoder)
        first, again = (self.scores(encoder, detector) for _ in range(2))
        assert np.array_equal(first, again), "scoring a set changes how the next is scored"

    def test_a_restored_detector_scores_as_the_fitted_detector(self) -> None:
        """A detector learns in a stage of its own, and is restored in others."""
        if not self.info.learns:
            return
        encoder = self.encoder()
        fitted, restored = self.detector(encoder), self.unfitted()
        state = {name: np.asarray(one) for name, one in fitted.state().items()}
        assert state, "return the learned detector as arrays by name from state: there is none"
        wrong = [name for name, one in state.items() if not np.isfinite(one).all()]
        assert not wrong, f"return finite arrays from state: {wrong} are not"
        self.guarded("restore", lambda: restored.restore(state))
        assert np.array_equal(self.scores(encoder, fitted), self.scores(encoder, restored)), (
            "give in state, and take in restore, all that score needs: the scores differ"
        )

    def test_arrays_that_are_no_detector_are_refused(self) -> None:
        """With a ValueError: an artifact may be damaged, or of another plugin."""
        if self.info.learns:
            assert_refuses(lambda arrays: self.unfitted().restore(arrays))

    def test_nothing_follows_from_the_validation_split(self, tmp_path: Path) -> None:
        """A detector learns from training images and the encoder alone."""
        if not self.info.learns:
            return
        kind, encoder = StageKind.FIT_DETECTOR, self.encoder()
        folders = self.guarded("fit", lambda: run_twice(tmp_path, self, kind, encoder=encoder))
        assert_same(folders, "detector.safetensors")
