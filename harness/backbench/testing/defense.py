"""Contracts of defenses."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakKeyDictionary

import numpy as np

from backbench.errors import ResultError
from backbench.images import ArrayImages, Subset, Unlabelled
from backbench.model import StageKind
from backbench.plugin import (
    CleanImages,
    DatasetMetadata,
    Defense,
    DefenseContext,
    DefenseInfo,
    Verdict,
    count_of,
)
from backbench.plugin.defense import MOST_CLEAN
from backbench.stages.verdicts import EVIDENCE, VERDICT, checked_verdict
from backbench.testing.base import checked_progress
from backbench.testing.fresh import CellsContract
from backbench.testing.hygiene import ENCODERS, assert_same, run_twice
from backbench.testing.purity import (
    assert_unused,
    elsewhere,
    watched,
)
from backbench.testing.samples import (
    assert_encoder,
    assert_untouched,
    other_encoder,
    same_weights,
    sample_images,
    tiny_encoder,
    weights_of,
)

if TYPE_CHECKING:
    from backbench.nn import Encoder


def defense_context(metadata: DatasetMetadata, most: float = 1.0) -> DefenseContext:
    """Make what the harness gives to a defense besides its input.

    ``most`` is the largest share of the training images that it may request as clean.
    """
    images = sample_images(metadata)

    def clean(fraction: float) -> CleanImages:
        assert 0 < fraction <= most, (
            f"ask for a share in (0, {most:g}] of clean images, not {fraction}"
        )
        count = max(1, count_of(fraction, len(images)))
        chosen = np.sort(np.random.default_rng(0).permutation(len(images))[:count])
        return CleanImages(Subset(images, chosen), fraction)

    return DefenseContext(seed=0, device="cpu", clean=clean, progress=checked_progress)


class _DefenseContract(CellsContract):
    """Common part of the contracts of defenses."""

    info: ClassVar[DefenseInfo]

    base = "Defense"

    def encoder(self) -> Encoder:
        """Make the encoder that the defense is given; the same each time."""
        return tiny_encoder(min(self.metadata.size or (32, 32)))

    def context(self, most: float = 1.0) -> DefenseContext:
        """Make what the harness gives to a defense besides its input."""
        return defense_context(self.metadata, most)

    def made(self) -> Defense:
        """Make the defense."""
        kind, settings = self.implementation(), self.settings()
        defense: Defense = self.guarded("making the defense", lambda: kind(settings))
        return defense

    def inspect(self, encoder: Encoder) -> Verdict:
        """Let the defense judge an encoder; return the verdict as it is stored."""
        found = self.guarded("inspect", lambda: self.made().inspect(encoder, self.context()))
        try:
            return checked_verdict(found, "inspect")
        except ResultError as error:
            raise AssertionError(f"return a Verdict of finite numbers: {error}") from error


@dataclass(frozen=True)
class _Applied:
    """Input and result of a defense, and the global generators that it has used."""

    encoder: Encoder
    images: ArrayImages
    result: Any
    used: list[str]


#: The application that tests of a contract share.
_APPLIED: WeakKeyDictionary[type[DefenseContract], _Applied] = WeakKeyDictionary()


class DefenseContract(_DefenseContract):
    """Contract of a defense that acts on the encoder or the dataset.

    Subclass it; set ``info``, and ``options`` that are small. The encoder is a tiny one with random
    weights, the images are those of ``metadata``; what is required of the defense follows from
    ``acts_on``. If it acts on the model too, its repair gets its own verdict.
    """

    def apply(self, encoder: Encoder, images: ArrayImages) -> Any:
        """Let the defense do what its info record states; return the encoder or the scores."""
        defense, context = self.made(), self.context()
        if "encoder" in self.info.shapes:
            if "model" in self.info.shapes:
                context = replace(context, verdict=self.inspect(copy.deepcopy(encoder)))
            return self.guarded("repair", lambda: defense.repair(encoder, context))
        shown, context = Unlabelled(images), self.context(MOST_CLEAN)
        found = self.guarded("sanitize", lambda: defense.sanitize(encoder, shown, context))
        return np.asarray(found)

    def of_cell(self, cell: int) -> dict[str, Any]:
        """Return the weights or the scores: of another encoder in another cell."""
        if cell == 0:
            result = self._applied().result
        else:
            result = self.apply(other_encoder(self.encoder()), sample_images(self.metadata))
        return weights_of(result) if "encoder" in self.info.shapes else {"scores": result}

    def _applied(self) -> _Applied:
        kind = type(self)
        if kind not in _APPLIED:
            self.implementation()  # importing torch is not defending
            given = self.encoder(), sample_images(self.metadata)
            _APPLIED[kind] = _Applied(*given, *watched(lambda: self.apply(*given)))
        return _APPLIED[kind]

    def test_result_is_what_the_record_says(self) -> None:
        """An encoder of the same architecture; or a finite score an image, not all above 0."""
        applied = self._applied()
        encoder, images, result = applied.encoder, applied.images, applied.result
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
        applied = self._applied()
        encoder, found = applied.encoder, applied.result
        assert found is not encoder, "return a copy of the encoder, not the one that was given"
        assert_untouched(encoder, self.encoder())

    def test_result_depends_on_its_input_and_the_seed_alone(self) -> None:
        first = self._applied().result
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
        scores, others = self._applied().result, self.apply(self.encoder(), moved)
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
        assert_unused(self._applied().used)


#: The verdict that tests of a contract share.
_JUDGED: WeakKeyDictionary[type[ModelDefenseContract], _Applied] = WeakKeyDictionary()


class ModelDefenseContract(_DefenseContract):
    """Contract of a defense that gives a verdict on an encoder: ``acts_on="model"``.

    Subclass it; set ``info``, and ``options`` that are small. The encoder is a tiny one with random
    weights, the images are those of ``metadata``. A defense that acts on the encoder too has
    :class:`DefenseContract` besides.
    """

    def _judged(self) -> _Applied:
        kind = type(self)
        if kind not in _JUDGED:
            self.implementation()  # importing torch is not judging
            given = self.encoder()
            _JUDGED[kind] = _Applied(
                given, sample_images(self.metadata), *watched(lambda: self.inspect(given))
            )
        return _JUDGED[kind]

    def of_cell(self, cell: int) -> dict[str, Any]:
        """Return the verdict: on another encoder in another cell."""
        found = self.inspect(other_encoder(self.encoder())) if cell else None
        verdict = found or self._judged().result
        return {"score": verdict.score, **verdict.numbers, **verdict.evidence}

    def test_result_is_a_verdict(self) -> None:
        """A finite score; evidence in arrays of finite numbers, and finite numbers, by name."""
        assert "model" in self.info.shapes, 'state acts_on="model" in the record'
        self._judged()

    def test_its_input_is_not_changed(self) -> None:
        """The encoder keeps its weights, its mode and its gradients; the images their pixels."""
        assert_untouched(self._judged().encoder, self.encoder())

    def test_result_depends_on_its_input_and_the_seed_alone(self) -> None:
        first = self._judged().result
        with elsewhere():
            again = self.inspect(self.encoder())
        same = (first.score, first.numbers) == (again.score, again.numbers)
        same = same and first.evidence.keys() == again.evidence.keys()
        same = same and all(
            np.array_equal(one, again.evidence[name]) for name, one in first.evidence.items()
        )
        assert same, "another process gives another verdict: draw from the context's seed alone"

    def test_nothing_follows_from_the_validation_split(self, tmp_path: Path) -> None:
        folders = self.guarded(
            "inspect",
            lambda: run_twice(tmp_path, self, StageKind.INSPECT, encoder=self.encoder()),
        )
        assert_same(folders, VERDICT, EVIDENCE)

    def test_global_generators_are_untouched(self) -> None:
        assert_unused(self._judged().used)
