"""Run an attack over a split and write down every image it touches."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from backbench.data.encode import through_jpeg
from backbench.data.preprocess import Fit, fitted_pixels
from backbench.errors import ResultError, StageError
from backbench.images import ImageSet, Pixels, read_only
from backbench.plugin import Attack, Box, Split, Stamp
from backbench.seeds import derive
from backbench.system.json_text import from_json, to_json

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


#: Bytes that are compared at a time.
_WORD: Final = 8


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """A line of a poison manifest: an image of a split, and its stamp.

    ``before`` and ``after`` are the SHA-256 of the image's shape and pixels before stamping, and
    after it, before any JPEG. ``boxes`` are in the order of pasting; ``opacity`` is the trigger's
    share in them; ``seed`` is that of this image's stamp.
    """

    index: int
    source: str
    label: int
    before: str
    after: str
    boxes: tuple[Box, ...]
    opacity: float
    seed: int

    @property
    def box(self) -> Box:
        """The first box in which the trigger was pasted; most attacks paste it once."""
        return self.boxes[0]

    def line(self, **more: Any) -> str:
        """Return the entry, with further fields, as a line of JSON."""
        return to_json({**shallow(self), **more}) + "\n"

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> ManifestEntry:
        """Read a mark from a line's JSON; what else the line holds is passed over."""
        own = {field.name: fields[field.name] for field in dataclasses.fields(cls)}
        return cls(**{**own, "boxes": tuple(Box(*box) for box in own["boxes"])})


def shallow(line: DataclassInstance) -> dict[str, Any]:
    """Return the fields of a line; many times as fast as ``asdict``, which copies all below."""
    return {field: getattr(line, field) for field in line.__dataclass_fields__}


def read_manifest(path: Path) -> Iterator[ManifestEntry]:
    """Yield the lines of a poison manifest."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield ManifestEntry.of(from_json(line))


def pixel_hash(image: Pixels) -> str:
    """Return the SHA-256 of the shape and pixels of an image, (H, W, 3), uint8."""
    digest = hashlib.sha256(repr(image.shape).encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def changed_rows(before: Pixels, after: Pixels) -> slice:
    """Return the rows from the first to the last that differ, (H, W, 3); no row if none does."""
    one, other = (np.ascontiguousarray(image).reshape(-1) for image in (before, after))
    # Eight bytes at a time, and the rest: a byte at a time takes as long as a third of the hashes.
    whole = len(one) // _WORD * _WORD
    differs = (one[:whole].view(np.uint64) != other[:whole].view(np.uint64)).tobytes()
    differs += (one[whole:] != other[whole:]).any().tobytes()
    word, last = differs.find(1), differs.rfind(1)
    if word < 0:
        return slice(0, 0)
    row = len(one) // len(before)
    return slice(
        (word * _WORD + _differing(one, other, word)[0]) // row,
        (last * _WORD + _differing(one, other, last)[-1]) // row + 1,
    )


def _differing(one: Pixels, other: Pixels, word: int) -> list[int]:
    """Return which bytes of a word differ; at least one does."""
    span = slice(word * _WORD, (word + 1) * _WORD)
    found: list[int] = np.flatnonzero(one[span] != other[span]).tolist()
    return found


def pixel_hashes(before: Pixels, after: Pixels, first: int) -> tuple[str, str]:
    """Return :func:`pixel_hash` of both; what they share above row ``first`` is hashed once."""
    one = hashlib.sha256(repr(before.shape).encode())
    one.update(np.ascontiguousarray(before[:first]).data)
    other = one.copy()
    one.update(np.ascontiguousarray(before[first:]).data)
    other.update(np.ascontiguousarray(after[first:]).data)
    return one.hexdigest(), other.hexdigest()


def choose(attack: Attack, labels: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Let an attack choose training images; return distinct indices, (M,), sorted."""
    target, classes = attack.target, len(attack.metadata.classes)
    if target is not None and not (_is_index(target) and 0 <= target < classes):
        raise ResultError(
            f"the attack's target is {target!r}: it must be the index of one of {classes} classes, "
            "or None"
        )
    rng = np.random.default_rng(derive(seed, "poison", "choose"))
    chosen = np.asarray(attack.choose(read_only(labels), rng))
    if not chosen.size:
        raise ResultError("the attack chose no image: nothing would be poisoned")
    if chosen.ndim != 1 or chosen.dtype.kind not in "iu":
        raise ResultError(
            f"the attack chose an array of {chosen.dtype}, of shape {chosen.shape}: it must be the "
            "indices of images"
        )
    chosen = np.sort(chosen.astype(np.int64))
    if chosen[0] < 0 or chosen[-1] >= len(labels) or (np.diff(chosen) == 0).any():
        raise ResultError("the attack chose an image twice, or one that is not there")
    return chosen


def _is_index(value: object) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


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


def _stamp_problem(stamp: Any, image: Pixels) -> str | None:
    """Return why a poison that an attack made cannot be used; ``None`` if it can."""
    if not isinstance(stamp, Stamp) or not isinstance(stamp.pixels, np.ndarray):
        return f"the attack gave a {type(stamp).__name__}: it must be a Stamp of an array"
    height, width = image.shape[:2]
    pixels = stamp.pixels
    if pixels.shape != image.shape or pixels.dtype != np.uint8:
        return f"the attack gave {pixels.dtype} {pixels.shape} for uint8 {image.shape}"
    for box in stamp.boxes:
        on_image = (
            all(map(_is_index, box)) and min(box.x, box.y, box.width - 1, box.height - 1) >= 0
        )
        if not on_image or box.x + box.width > width or box.y + box.height > height:
            return f"the attack gave {tuple(box)} for a box on an image of {width} x {height} px"
    if not 0 < stamp.opacity <= 1:
        return f"the attack gave the opacity {stamp.opacity}: it must be in (0, 1]"
    return None


def recode(attack: Attack, stamped: Pixels) -> Pixels:
    """Send a stamped image through the JPEG that the attack sets, if any."""
    quality = attack.jpeg_quality
    return stamped if quality is None else through_jpeg(stamped, quality)


class Poison(Mapping[int, Pixels]):
    """The poisoned images of a training set by index, each stamped when it is needed.

    Laid over the clean set (:class:`backbench.images.Overlay`) they are the poisoned one, without
    a copy of anything.

    Args:
        attack: The attack.
        images: The clean training images.
        seed: Seed of the choice and of the stamps.
        fit: How a stamped image is made smaller, if it is.
        chooses: Whether the attack poisons images; an attack on the encoder does not.
    """

    def __init__(
        self,
        attack: Attack,
        images: ImageSet,
        seed: int,
        fit: Fit | None = None,
        *,
        chooses: bool = True,
    ) -> None:
        self.chosen = choose(attack, images.labels, seed) if chooses else np.empty(0, np.int64)
        self._known = frozenset(self.chosen.tolist())
        self._attack, self._images, self._seed, self._fit = attack, images, seed, fit

    def __getitem__(self, index: int) -> Pixels:
        if index not in self._known:
            raise KeyError(index)
        rng = np.random.default_rng(derive(self._seed, "poison", "train", index))
        return self._finished(self._attack.stamp(self._images.image(index), rng, "train").pixels)

    def __iter__(self) -> Iterator[int]:
        return iter(self.chosen.tolist())

    def __len__(self) -> int:
        return len(self.chosen)

    def described(self) -> Iterator[tuple[ManifestEntry, Pixels]]:
        """Yield each image's line of the manifest and the image, in the order of indices."""
        for index in self:
            stamped, mark = stamp(self._attack, self._images, index, "train", self._seed)
            yield mark, self._finished(stamped)

    def _finished(self, stamped: Pixels) -> Pixels:
        return fitted_pixels(recode(self._attack, stamped), self._fit)


class StampedImages(ImageSet):
    """A set of which every image carries an attack's trigger, stamped when it is read.

    Args:
        base: The images.
        attack: The attack.
        seed: Seed of all stamps; each image's follows from it and the image's position.
    """

    def __init__(self, base: ImageSet, attack: Attack, seed: int) -> None:
        super().__init__(base.labels, base.sources, base.size)
        self._base, self._attack, self._seed = base, attack, seed

    def image(self, index: int) -> Pixels:
        """Return one stamped image, (H, W, 3), uint8."""
        rng = np.random.default_rng(derive(self._seed, "stamp", index))
        image = self._attack.stamp(self._base.image(index), rng, "train").pixels
        return recode(self._attack, image)


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
