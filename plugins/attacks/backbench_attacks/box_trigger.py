"""Base of attacks whose trigger is one box."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backbench.plugin import Attack, Pixels, Split, Stamp
from backbench_attacks.placement import corners, put
from backbench_attacks.trigger_options import BoxTriggerOptions


class BoxTriggerAttack(Attack):
    """Stamps its trigger at a random place of a range; options derive from those of the trigger."""

    options: BoxTriggerOptions

    def trigger_image(self, split: Split) -> NDArray[np.uint8]:  # noqa: ARG002
        """Return what is put on images, at its size."""
        return self.options.made_trigger.image()

    def stamp(self, image: Pixels, rng: np.random.Generator, split: Split) -> Stamp:
        """Put the trigger on one image; see :meth:`backbench.plugin.Attack.stamp`.

        Raises:
            ValueError: If it does not fit.
        """
        options, trigger = self.options, self.options.made_trigger
        (width, height), (high, wide) = trigger.size, image.shape[:2]
        if width > wide or height > high:
            raise ValueError(
                f"width: the trigger is {width} x {height} px, larger than an image of {wide} x "
                f"{high}; make width smaller"
            )
        places = corners(image.shape, trigger, "random", options.location(split), rng)
        pixels, (box,) = put(image, trigger, places, options.opacity)
        return Stamp(pixels, box, options.opacity)
