"""The poisons of a training set, and triggered images: stamped, composed, checked, described."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from backbench.data.encode import through_jpeg
from backbench.data.preprocess import Fit, evaluation_image, fitted_pixels
from backbench.errors import ResultError, StageError
from backbench.images import UNKNOWN, ImageSet, Pixels, added_source, read_only
from backbench.options.base import MOST_SIDE
from backbench.plugin import Attack, Box, Recipe, Split, Stamp
from backbench.plugin.recipes import TRAIN
from backbench.poison.access import Access
from backbench.poison.choice import choose, is_index, plain_recipe
from backbench.poison.manifest import (
    ManifestEntry,
    PartEntry,
    changed_rows,
    pixel_hash,
    pixel_hashes,
)
from backbench.seeds import derive

#: Of an image's pixels.
_AXES: Final = 3
_CHANNELS: Final = 3


def stamp(
    attack: Attack, images: ImageSet, index: int, split: Split, seed: int
) -> tuple[Pixels, ManifestEntry]:
    """Stamp one image of a split; return it, before any JPEG, and its line of the manifest."""
    who = ImageRef(index, images.sources[index], int(images.labels[index]))
    pixels, mark, _ = stamp_image(attack, images.image(index), who, split, seed)
    return pixels, mark


@dataclass(frozen=True, slots=True)
class ImageRef:
    """An image of a split: its position, its stable name and its class index."""

    index: int
    source: str
    label: int


def stamp_image(
    attack: Attack, before: Pixels, who: ImageRef, split: Split, seed: int
) -> tuple[Pixels, ManifestEntry, slice]:
    """Stamp one image that is at hand; see :func:`stamp`, and the rows that have changed."""
    own = derive(seed, "poison", split, who.index)
    after = attack.stamp(read_only(before), np.random.default_rng(own), split)
    problem = _stamp_problem(after, before)
    if problem:
        raise ResultError(f"{who.source}: {problem}")
    rows = changed_rows(before, after.pixels)
    if rows.stop and not _covered(rows, after.boxes):
        raise ResultError(
            f"{who.source}: the attack changed the rows {rows.start} to {rows.stop - 1}, and its "
            f"boxes are {[tuple(box) for box in after.boxes]}: a manifest states where a trigger is"
        )
    hash_before, hash_after = pixel_hashes(before, after.pixels, rows.start)
    mark = ManifestEntry(
        index=who.index,
        source=who.source,
        label=who.label,
        before=hash_before,
        after=hash_after,
        boxes=tuple(Box(*map(int, box)) for box in after.boxes),
        opacity=float(after.opacity),
        seed=own,
    )
    return after.pixels, mark, rows


def _covered(rows: slice, boxes: Sequence[Box]) -> bool:
    """Return whether changed rows lie between the first and the last row of boxes."""
    top, bottom = min(box.y for box in boxes), max(box.y + box.height for box in boxes)
    return bool(top <= rows.start and rows.stop <= bottom)


@dataclass(frozen=True, slots=True)
class PartImage:
    """An image that a poison is made of: its set, index and stable name, and its pixels."""

    set: str
    index: int
    source: str
    pixels: Pixels


def compose_image(
    attack: Attack, recipe: Recipe, access: Access, who: ImageRef, seed: int
) -> tuple[Pixels, ManifestEntry]:
    """Make one poison of a recipe; return it, before any JPEG, and its line of the manifest."""
    replaced = recipe.replaces
    before = None if replaced is None else access.set(TRAIN).image(replaced)
    return compose_parts(attack, _read(recipe, access), before, who, seed)


def compose_parts(
    attack: Attack, parts: Sequence[PartImage], before: Pixels | None, who: ImageRef, seed: int
) -> tuple[Pixels, ManifestEntry]:
    """Make one poison of images that are at hand; see :func:`compose_image`.

    ``before`` is the image that it replaces, ``None`` if it is added.
    """
    own = derive(seed, "poison", "train", who.index)
    made = attack.compose(tuple(part.pixels for part in parts), np.random.default_rng(own))
    problem = _stamp_problem(made, None)
    if problem:
        raise ResultError(f"{who.source}: {problem}")
    height, width = made.pixels.shape[:2]
    mark = ManifestEntry(
        index=who.index,
        source=who.source,
        label=who.label,
        before="" if before is None else pixel_hash(before),
        after=pixel_hash(made.pixels),
        boxes=tuple(Box(*map(int, box)) for box in made.boxes),
        opacity=float(made.opacity),
        seed=own,
        parts=tuple(
            PartEntry(part.set, part.index, part.source, pixel_hash(part.pixels)) for part in parts
        ),
        size=(height, width),
    )
    return made.pixels, mark


def _read(recipe: Recipe, access: Access) -> tuple[PartImage, ...]:
    """Return the images of a recipe, of which an attack can change neither pixels nor order."""
    opened = [(part, access.set(part.set)) for part in recipe.parts]
    return tuple(
        PartImage(
            part.set, part.index, images.sources[part.index], read_only(images.image(part.index))
        )
        for part, images in opened
    )


def _stamp_problem(stamp: Any, image: Pixels | None) -> str | None:
    """Return why a poison that an attack made cannot be used; ``None`` if it can.

    It has the size of the ``image`` that was stamped, and any size if it was composed.
    """
    plain = isinstance(stamp, Stamp) and isinstance(stamp.pixels, np.ndarray)
    if not plain or np.ma.is_masked(stamp.pixels):
        return f"the attack gave a {type(stamp).__name__}: it must be a Stamp of an array"
    if problem := _pixel_problem(stamp.pixels, image):
        return problem
    if image is not None and not stamp.boxes:
        return "the attack gave no box: it must state where the trigger is"
    height, width = stamp.pixels.shape[:2]
    for box in stamp.boxes:
        on_image = all(map(is_index, box)) and min(box.x, box.y, box.width - 1, box.height - 1) >= 0
        if not on_image or box.x + box.width > width or box.y + box.height > height:
            return f"the attack gave {tuple(box)} for a box on an image of {width} x {height} px"
    if not 0 < stamp.opacity <= 1:
        return f"the attack gave the opacity {stamp.opacity}: it must be in (0, 1]"
    return None


def _pixel_problem(pixels: NDArray[Any], image: Pixels | None) -> str | None:
    if image is not None:
        if pixels.shape == image.shape and pixels.dtype == np.uint8:
            return None
        return f"the attack gave {pixels.dtype} {pixels.shape} for uint8 {image.shape}"
    if pixels.ndim != _AXES or pixels.shape[2] != _CHANNELS or pixels.dtype != np.uint8:
        return f"the attack gave {pixels.dtype} {pixels.shape}: it must be uint8 (H, W, 3)"
    if not 0 < min(pixels.shape) <= max(pixels.shape) <= MOST_SIDE:
        return f"the attack gave {pixels.shape}: height and width must lie in [1, {MOST_SIDE}]"
    return None


def recode(attack: Attack, stamped: Pixels) -> Pixels:
    """Send a stamped image through the JPEG that the attack sets, if any."""
    quality = attack.jpeg_quality
    return stamped if quality is None else through_jpeg(stamped, quality)


class Poison(Mapping[int, Pixels]):
    """The poisoned images of a training set by index, each made when it is needed.

    Laid over the clean set (:class:`backbench.images.Overlay`) they are the poisoned one, without
    a copy of anything.

    Args:
        attack: The attack.
        access: The clean training images, and whatever else the attack may request.
        seed: Seed of the choice and of the poisons.
        fit: How a poison is made smaller, if it is.
        chooses: Whether the attack poisons images; an attack on the encoder does not.
    """

    def __init__(
        self,
        attack: Attack,
        access: Access,
        seed: int,
        fit: Fit | None = None,
        *,
        chooses: bool = True,
    ) -> None:
        self.recipes = choose(attack, access, seed) if chooses else {}
        self.chosen = np.fromiter(self.recipes, dtype=np.int64, count=len(self.recipes))
        #: Whether a poison is anything but a training image that is stamped in its place.
        self.composed = type(attack).compose is not Attack.compose or any(
            recipe != plain_recipe(index) for index, recipe in self.recipes.items()
        )
        self.threat = access.threat if chooses else {}
        self._attack, self._access, self._seed, self._fit = attack, access, seed, fit

    def __getitem__(self, index: int) -> Pixels:
        if index not in self.recipes:
            raise KeyError(index)
        rng = np.random.default_rng(derive(self._seed, "poison", "train", index))
        parts = tuple(part.pixels for part in _read(self.recipes[index], self._access))
        return self._finished(self._attack.compose(parts, rng).pixels)

    def __iter__(self) -> Iterator[int]:
        return iter(self.recipes)

    def __len__(self) -> int:
        return len(self.recipes)

    def described(self) -> Iterator[tuple[ManifestEntry, Pixels]]:
        """Yield each poison's line of the manifest and the poison, in the order of indices."""
        for index in self:
            made, mark = self._described(index)
            yield mark, self._finished(made)

    def _described(self, index: int) -> tuple[Pixels, ManifestEntry]:
        images = self._access.set(TRAIN)
        if not self.composed:
            return stamp(self._attack, images, index, "train", self._seed)
        who = self.ref(index)
        return compose_image(self._attack, self.recipes[index], self._access, who, self._seed)

    def ref(self, index: int) -> ImageRef:
        """Return the names of a poison; one that is added has no class."""
        if self.recipes[index].replaces is None:
            return ImageRef(index, added_source(index - self._access.images), UNKNOWN)
        images = self._access.set(TRAIN)
        return ImageRef(index, images.sources[index], int(images.labels[index]))

    def _finished(self, stamped: Pixels) -> Pixels:
        return fitted_pixels(recode(self._attack, stamped), self._fit)


class StampedImages(ImageSet):
    """A set of which every image carries an attack's trigger, stamped when it is read.

    Args:
        base: The images.
        attack: The attack.
        seed: Seed of all stamps; each image's follows from it and the image's position.
        side: Side in pixels of the squares that get the trigger, as in an evaluation: images that
            differ in size, or are not square, are brought to it. ``None``: no image is changed.
    """

    def __init__(self, base: ImageSet, attack: Attack, seed: int, side: int | None = None) -> None:
        if side is None or (base.size and base.size[0] == base.size[1]):
            self._side, size = None, base.size
        else:
            self._side, size = side, (side, side)
        super().__init__(base.labels, base.sources, size)
        self._base, self._attack, self._seed = base, attack, seed

    def image(self, index: int) -> Pixels:
        """Return one stamped image, (H, W, 3), uint8."""
        rng = np.random.default_rng(derive(self._seed, "stamp", index))
        image = self._base.image(index)
        if self._side is not None:  # a trigger in a corner would be cut off afterwards
            image = evaluation_image(image, self._side, margin=self._base.size is None)
        return recode(self._attack, self._attack.stamp(image, rng, "train").pixels)


class TriggeredImages(ImageSet):
    """A split of which every image carries its manifest's trigger, stamped when it is read.

    Args:
        clean: The images.
        attack: The attack.
        marks: A line of the manifest for each image.
        kept: The stamped images by index, where the poison has kept them: nothing is stamped then.
    """

    def __init__(
        self,
        clean: ImageSet,
        attack: Attack,
        marks: list[ManifestEntry],
        kept: Mapping[int, Pixels] | None = None,
    ) -> None:
        if len(marks) != len(clean):
            raise StageError(f"the manifest has {len(marks)} lines for {len(clean)} images")
        self._clean = clean
        self._attack = attack
        self._marks = marks
        self._kept = kept
        super().__init__(clean.labels, clean.sources, clean.size)
        if clean.pixels is not None:
            self._pixels = np.stack([self.image(index) for index in range(len(clean))])

    def image(self, index: int) -> Pixels:
        """Return one stamped image, (H, W, 3), uint8."""
        mark = self._marks[index]
        if self._kept is None:
            rng = np.random.default_rng(mark.seed)
            image = self._attack.stamp(self._clean.image(index), rng, "val").pixels
        else:
            image = self._kept[index]
        if pixel_hash(image) != mark.after:
            raise StageError(f"{mark.source}: the stamped image is not the manifest's")
        return recode(self._attack, image)
