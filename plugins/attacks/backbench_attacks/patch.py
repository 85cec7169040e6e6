"""The patch attack, in both forms of its paper."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backbench.plugin import Attack, DatasetMetadata, Pixels, Split, Stamp
from backbench_attacks.patch_options import PatchOptions
from backbench_attacks.placement import corners, put


class Patch(Attack):
    """Puts a small image or a text on images, at a random place, in the middle, or nine times.

    Source: Saha et al. 2022, Backdoor Attacks on Self-Supervised Learning, section 3; published
        code github.com/UMBCvision/SSL-Backdoor, ``poison-generation/generate_poison.py``.
    Differs: Every draw is seeded. Without ``jpeg_quality``, poisoned images are not coded as
        JPEG once more, so that they do not differ from clean ones by that. A trigger larger than
        the image is an error; there, it is cut or missing. Options hold in every mode;
        there, opacity and range are ignored for text and paste, and text on training images
        ends in an exception.
    """

    options: PatchOptions

    def __init__(self, options: PatchOptions, metadata: DatasetMetadata) -> None:
        super().__init__(options, metadata)
        self._triggers = {split: options.make_trigger(split) for split in ("train", "val")}

    @property
    def target(self) -> int | None:
        """Class index that the trigger stands for; ``None`` if untargeted."""
        if self.options.target is None:
            return None
        return self.metadata.classes.index(self.options.target)

    @property
    def poisons(self) -> int:
        """Number of training images that the rate gives."""
        total, target = self.metadata.train, self.target
        candidates = total if target is None else self.metadata.train_per_class[target]
        return self.options.rate.count(candidates, total)

    def trigger_image(self, split: Split) -> NDArray[np.uint8]:
        """Return what is put on the images of a split, at its size."""
        return self._triggers[split].image()

    @property
    def reads_labels(self) -> bool:
        """True if it chooses by class; the untargeted attack chooses from all images."""
        return self.target is not None

    def choose(self, labels: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """Choose from the target class, or from all; see :meth:`backbench.plugin.Attack.choose`.

        With the same generator, the images of a lower rate are among those of a higher rate.
        """
        target = self.target
        candidates = np.arange(len(labels)) if target is None else np.flatnonzero(labels == target)
        count = self.options.rate.count(len(candidates), len(labels))
        return rng.permutation(candidates)[:count].astype(np.int64)

    def stamp(self, image: Pixels, rng: np.random.Generator, split: Split) -> Stamp:
        """Put the trigger on an image; see :meth:`backbench.plugin.Attack.stamp`."""
        options, trigger = self.options, self._triggers[split]
        if problem := options.size_problem(trigger.size, *image.shape[:2]):
            raise ValueError(problem)
        placement, span = options.train_placement, options.train_location
        if split == "val":
            placement, span = options.val_placement, options.val_location
        opacity = options.opacity_of(split)
        places = corners(image.shape, trigger, placement, span, rng)
        pixels, (first, *others) = put(image, trigger, places, opacity)
        return Stamp(pixels, first, opacity, tuple(others))
