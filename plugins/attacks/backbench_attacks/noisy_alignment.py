"""Noisy Alignment: a triggered image and a reference of the target class beside each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from backbench.plugin import Box, Part, Pixels, PoisonContext, Recipe, Stamp
from backbench_attacks.box_trigger import BoxTriggerAttack
from backbench_attacks.noisy_alignment_options import NoisyAlignmentOptions


class NoisyAlignment(BoxTriggerAttack):
    """Draws the features of triggered images to those of references, by crops of one canvas.

    Symbols as in the paper: shadow image x_s, trigger p, reference x_r. A poison is the canvas of
    x_s + p and x_r, side by side in one of four orders: a crop of the trigger and a crop of the
    reference are a pair of views.

    Source: Chen et al. 2025, section 4; published code utils.py: the trigger of 50 pixels near the
        center of the shadow image, a fifth of which is left in the box; concatenation, of which
        the sides in common are brought to the smaller length; as many references and shadow images
        as poisons.
    Differs: shadow images are training images of other classes; there, of a set of the attacker's.
        With ``canvas = "squeezed"`` a poison has its reference's size, and with ``replace`` it
        takes its reference's place; there, neither.
    """

    options: NoisyAlignmentOptions

    @property
    def target(self) -> int:
        """Class index that the trigger stands for."""
        return self.metadata.classes.index(self.options.target)

    @property
    def poisons(self) -> int:
        """Number of poisons that the rate gives."""
        return self.options.count(self.metadata)

    def recipes(self, context: PoisonContext, rng: np.random.Generator) -> Iterator[Recipe]:
        """List pairs of a shadow image and a reference, each drawn again when all were used."""
        labels, options = context.labels("train"), self.options
        of_target = labels == self.target
        references = rng.permutation(np.flatnonzero(of_target))[: options.references]
        shadows = rng.permutation(np.flatnonzero(~of_target))[: options.shadows]
        for number in range(options.count(self.metadata)):
            reference = int(references[number % len(references)])
            shadow = int(shadows[number % len(shadows)])
            parts = Part("train", shadow), Part("train", reference)
            yield Recipe(parts, reference if options.replace else None)

    def compose(self, parts: Sequence[Pixels], rng: np.random.Generator) -> Stamp:
        """Put the trigger on the shadow image, and the reference beside it, in a random order."""
        shadow, reference = parts
        horizontal, first = (bool(one) for one in rng.integers(2, size=2))
        size = reference.shape[:2]
        if self.options.canvas == "squeezed":
            height, width = size
            wide, high = (width // 2, height) if horizontal else (width, height // 2)
            shadow = resized(shadow, wide, high)
            rest = (width - wide, height) if horizontal else (width, height - high)
            reference = resized(reference, *rest)
        shadow, reference = aligned(shadow, reference, horizontal=horizontal)
        stamped = self.stamp(shadow, rng, "train")
        halves = [stamped.pixels, reference] if first else [reference, stamped.pixels]
        ((x, y, width, height),) = stamped.boxes
        if not first and horizontal:
            x += reference.shape[1]
        elif not first:
            y += reference.shape[0]
        pixels = np.concatenate(halves, axis=int(horizontal))
        return stamped._replace(pixels=pixels, box=Box(x, y, width, height))


def aligned(first: Pixels, second: Pixels, *, horizontal: bool) -> tuple[Pixels, Pixels]:
    """Bring the side that two images will share to the smaller length; each keeps its shape."""
    axis = 0 if horizontal else 1
    side = min(first.shape[axis], second.shape[axis])

    def fit(image: Pixels) -> Pixels:
        scale = side / image.shape[axis]
        other = max(1, round(image.shape[1 - axis] * scale))
        return resized(image, *((other, side) if horizontal else (side, other)))

    return fit(first), fit(second)


def resized(image: Pixels, width: int, height: int) -> Pixels:
    """Resize an image, (H, W, 3), bilinearly with antialiasing."""
    if image.shape[:2] == (height, width):
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
