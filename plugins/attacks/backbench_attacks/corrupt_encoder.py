"""CorruptEncoder: an object of the target class and a trigger on one background."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image, ImageFilter

from backbench.plugin import Part, Pixels, PoisonContext, Recipe, Stamp, count_of
from backbench_attacks.box_trigger import BoxTriggerAttack
from backbench_attacks.corrupt_encoder_options import CorruptEncoderOptions
from backbench_attacks.noisy_alignment import aligned, resized
from backbench_attacks.placement import put

#: Of a mask, in pixels.
_BLUR = 1

_OPAQUE = 255
_CHANNELS = 4


class CorruptEncoder(BoxTriggerAttack):
    """Adds images with an object at one side and the trigger at the other: two crops, a pair.

    Symbols as in the paper: reference object of width o_w and height o_h, background of width b_w
    and height b_h, trigger. With ``support_ratio`` it is CorruptEncoder+: some poisons join a
    support image and a reference.

    Source: Zhang et al. 2024, section 4; published code generate_poisoned_images.py: b_w = 2 o_w,
        b_h = o_h; the object at the left or the right, at most a twentieth from the edge, at the
        bottom, its mask blurred by a pixel; the trigger in the other half, a quarter of it from
        every side.
    Differs: without ``reference_images`` the object is a whole training image of the target class,
        and without ``backgrounds`` a background is a training image of another class; there, masked
        objects on images of places. A background is resized to the canvas. A trigger that has no
        room within its margins begins at them.
    """

    options: CorruptEncoderOptions

    @property
    def target(self) -> int:
        """Class index that the trigger stands for."""
        return self.metadata.classes.index(self.options.target)

    @property
    def poisons(self) -> int:
        """Number of poisons that the rate gives."""
        return self.options.count(self.metadata)

    def recipes(self, context: PoisonContext, rng: np.random.Generator) -> Iterator[Recipe]:
        """List backgrounds with references, and supports with references.

        A recipe of a background and a reference has two parts; one of a support image has the
        reference twice, which no other recipe has.
        """
        options, labels = self.options, context.labels("train")
        own = [
            Part("train", int(i)) for i in rng.permutation(np.flatnonzero(labels == self.target))
        ]
        if options.reference_images is None:
            references, own = own[: options.references], own[options.references :]
        else:
            there = rng.permutation(len(context.sets["reference_images"]))
            references = [Part("reference_images", int(i)) for i in there[: options.references]]
        supports = own[: options.supports]
        if options.backgrounds is None:
            backgrounds = [Part("train", int(i)) for i in np.flatnonzero(labels != self.target)]
        else:
            there = np.arange(len(context.sets["backgrounds"]))
            backgrounds = [Part("backgrounds", int(i)) for i in there]
        order = rng.permutation(len(backgrounds))
        supported = count_of(options.support_ratio, self.poisons)
        for number in range(self.poisons):
            reference = references[int(rng.integers(len(references)))]
            if number < supported:
                support = supports[int(rng.integers(len(supports)))]
                yield Recipe((support, reference, reference), None)
            else:
                yield Recipe((backgrounds[order[number % len(order)]], reference), None)

    def compose(self, parts: Sequence[Pixels], rng: np.random.Generator) -> Stamp:
        """Make one poison; see :meth:`backbench.plugin.Attack.compose`."""
        first, reference, *more = parts
        if more:
            pair = [first[..., :3], reference[..., :3]]
            joined = aligned(pair[0], pair[1], horizontal=True)
            halves = joined if rng.integers(2) else joined[::-1]
            return Stamp(np.concatenate(halves, axis=1), None, 1.0)
        options = self.options
        pixels, mask = cut_out(reference)
        height, width = mask.shape
        scale = min(1.0, options.max_side / max(options.canvas_ratio * width, height))
        width, height = max(1, int(width * scale)), max(1, int(height * scale))
        pixels, mask = resized(pixels, width, height), resized(mask, width, height)
        across = int(options.canvas_ratio * width)
        canvas = resized(first[..., :3], across, height)
        at_left = bool(rng.integers(2))
        shift = int(rng.integers(int(options.edge * across), endpoint=True))
        left = shift if at_left else across - width - shift
        canvas = paste(canvas, pixels, mask, left)
        half = across - across // 2 if at_left else 0
        box = self._place((half, across // 2), height, rng)
        made, (placed,) = put(canvas, options.made_trigger, [box], options.opacity)
        return Stamp(made, placed, options.opacity)

    def _place(
        self, half: tuple[int, int], height: int, rng: np.random.Generator
    ) -> tuple[int, int]:
        """Return x and y of a trigger in a half of the canvas, which begins at x and has a width.

        Raises:
            ValueError: If the trigger does not fit.
        """
        trigger, margin = self.options.made_trigger, self.options.margin
        found = []
        for begin, length, extent in zip(
            (half[0], 0), (half[1], height), trigger.size, strict=True
        ):
            if extent > length:
                raise ValueError(
                    f"width: the trigger is {trigger.size[0]} x {trigger.size[1]} px, larger than "
                    f"the half of a canvas, {half[1]} x {height}; make width smaller"
                )
            low, end = int(margin * length), int((1 - margin) * length) - extent
            low = min(low, length - extent)
            found.append(begin + int(rng.integers(low, max(low, end), endpoint=True)))
        return found[0], found[1]


def cut_out(image: Pixels) -> tuple[Pixels, Pixels]:
    """Cut an object out of its image, by its mask.

    Args:
        image: (H, W, 3), which is the object, or (H, W, 4), whose alpha channel is the mask.

    Returns:
        The object's box, (h, w, 3), and the mask in it, (h, w); the whole image if the mask is
        empty.
    """
    if image.shape[2] < _CHANNELS:
        return image, np.full(image.shape[:2], _OPAQUE, dtype=np.uint8)
    mask = image[..., 3]
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return image[..., :3], np.full(mask.shape, _OPAQUE, dtype=np.uint8)
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return image[..., :3][box], mask[box]


def paste(canvas: Pixels, pixels: Pixels, mask: Pixels, left: int) -> Pixels:
    """Put an object, (h, w, 3), on a canvas, (h, W, 3), by its mask, (h, w), blurred by a pixel."""
    soft = Image.fromarray(mask).filter(ImageFilter.GaussianBlur(_BLUR))
    whole = Image.fromarray(canvas)
    whole.paste(Image.fromarray(np.ascontiguousarray(pixels)), (left, 0), soft)
    return np.asarray(whole)
