"""The patch attack, in both forms of its paper."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backbench.images import Pixels
from backbench.plugin import Attack, DatasetFacts, Split, Stamp
from backbench_attacks.options import PatchOptions
from backbench_attacks.triggers import load_trigger, paste, place, resize_trigger


class Patch(Attack):
    """Pastes a small picture at a random place.

    Args:
        options: What to paste, where, and on how many pictures.
        facts: The data set that is attacked.

    Source: Saha et al. 2022, Backdoor Attacks on Self-Supervised Learning, section 3; published
        code github.com/UMBCvision/SSL-Backdoor, ``poison-generation/generate_poison.py``.
    Differs: Every draw is seeded. Poisoned pictures are not coded as JPEG once more, so that they
        do not differ from clean ones by that.
    """

    options: PatchOptions

    def __init__(self, options: PatchOptions, facts: DatasetFacts) -> None:
        super().__init__(options, facts)
        self._trigger = resize_trigger(load_trigger(options.trigger), options.width)

    @property
    def target(self) -> int | None:
        """Class index that the trigger shall stand for; ``None`` if untargeted."""
        if self.options.target is None:
            return None
        return self.facts.classes.index(self.options.target)

    def choose(self, labels: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """Choose the training pictures to poison.

        With the same generator, those of a lower rate are among those of a higher one.

        Args:
            labels: Class index of every training picture, (N,).
            rng: The only source of randomness.

        Returns:
            Distinct indices in [0, N), (M,), of the target class if targeted.

        Raises:
            ValueError: If the rate gives no picture, or more than there are.
        """
        target = self.target
        candidates = np.arange(len(labels)) if target is None else np.flatnonzero(labels == target)
        count = self.options.rate.count(len(candidates), len(labels))
        return rng.permutation(candidates)[:count].astype(np.int64)

    def stamp(self, image: Pixels, rng: np.random.Generator, split: Split) -> Stamp:
        """Paste the trigger at a random place.

        Args:
            image: (H, W, 3), uint8; not modified.
            rng: The only source of randomness.
            split: Which of the two ranges of places holds.

        Returns:
            The stamped picture and the box of the trigger.

        Raises:
            ValueError: If the trigger is larger than the picture.
        """
        options, trigger = self.options, self._trigger
        if trigger.shape[0] > image.shape[0] or trigger.shape[1] > image.shape[1]:
            raise ValueError(
                f"the trigger is {trigger.shape[1]} x {trigger.shape[0]} px, larger than a "
                f"picture of {image.shape[1]} x {image.shape[0]}; make width smaller"
            )
        span = options.train_location if split == "train" else options.val_location
        corner = place(image.shape, trigger.shape, span, rng)
        pixels, box = paste(image, trigger, corner, options.opacity)
        return Stamp(pixels, box, options.opacity)
