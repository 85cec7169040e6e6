"""Attacks on the dataset."""

from __future__ import annotations

import os
import random  # noqa: TID251 - what is caught
import time
from pathlib import Path
from typing import Any

import numpy as np

from backbench.model import StageKind
from backbench.plugin import Attack, AttackInfo, Box, Stamp
from backbench.testing import AttackContract
from backbench.testing.hygiene import run_once
from tests.contract.broken import broken

BOX = Box(3, 2, 3, 4)


class Right(Attack):
    """Three images of any class, and a square of a drawn gray."""

    target: Any = 0

    def choose(self, labels, rng):
        return rng.permutation(len(labels))[:3]

    def stamp(self, image, rng, split):
        pixels = image.copy()
        pixels[2:6, 3:6] = rng.integers(256)
        return Stamp(pixels, BOX, 1.0)


class Kit(AttackContract):
    __test__ = False
    info = AttackInfo(name="square", summary="A square.", target=f"{__name__}:Right")
    sample: Any = Right

    def implementation(self):
        return self.sample


def harness(kit: Kit, folder: Path) -> None:
    run_once(folder, kit, StageKind.POISON)


# -- the stamp --------------------------------------------------------------------------------


@broken("test_stamp_does_not_change_its_input", "read-only")
class WritesIntoItsImage(Right):
    """It puts the trigger on the image that it is given."""

    def stamp(self, image, rng, split):
        image[2:6, 3:6] = 0
        return Stamp(image, BOX, 1.0)


@broken("test_stamp_keeps_shape_and_dtype", "gave uint8 .4, 32, 3.")
class CutsTheImage(Right):
    """It returns a part of the image."""

    def stamp(self, image, rng, split):
        return Stamp(image[:4], Box(0, 0, 1, 1), 1.0)


@broken("test_stamp_keeps_shape_and_dtype", "gave float64")
class ReturnsFloats(Right):
    """It returns float64 pixels."""

    def stamp(self, image, rng, split):
        return Stamp(image / 2, Box(0, 0, 32, 32), 1.0)


@broken("test_stamp_keeps_shape_and_dtype", "gave uint8 .32, 32. for")
class ReturnsGray(Right):
    """It returns one channel."""

    def stamp(self, image, rng, split):
        return Stamp(image[:, :, 0].copy(), Box(0, 0, 32, 32), 1.0)


@broken("test_stamp_keeps_shape_and_dtype", "must be a Stamp of an array")
class ReturnsLists(Right):
    """It returns pixels as lists."""

    def stamp(self, image, rng, split):
        return Stamp(image.tolist(), BOX, 1.0)


@broken("test_stamp_shows", "gave a tuple: it must be a Stamp")
class ReturnsAPair(Right):
    """It returns a tuple where a Stamp is expected."""

    def stamp(self, image, rng, split):
        return image.copy(), BOX


@broken("test_stamp_changes_the_image_inside_its_boxes_only", "changed the rows 2 to 29")
class StampsTwiceAndTellsOnce(Right):
    """It puts a second square on the image, and names the first alone."""

    def stamp(self, image, rng, split):
        stamped = super().stamp(image, rng, split)
        stamped.pixels[28:30, 28:30] = 255 - stamped.pixels[28:30, 28:30]
        return stamped


@broken("test_stamp_changes_the_image_inside_its_boxes_only")
class NamesAColumnTooFew(Right):
    """It changes a column of pixels beside its box."""

    def stamp(self, image, rng, split):
        return super().stamp(image, rng, split)._replace(box=Box(3, 2, 2, 4))


@broken("test_boxes_lie_on_the_image", "for a box on an image of 32 x 32 px")
class LeavesTheImage(Right):
    """Its box ends outside the image."""

    def stamp(self, image, rng, split):
        return super().stamp(image, rng, split)._replace(box=Box(3, 2, 30, 4))


@broken("test_boxes_lie_on_the_image", "for a box on an image of 32 x 32 px")
class SecondBoxLeavesTheImage(Right):
    """Its second box begins outside the image."""

    def stamp(self, image, rng, split):
        return super().stamp(image, rng, split)._replace(others=(Box(-1, 2, 3, 4),))


@broken("test_boxes_lie_on_the_image", "for a box on an image")
class BoxWithoutArea(Right):
    """Its second box has no area."""

    def stamp(self, image, rng, split):
        return super().stamp(image, rng, split)._replace(others=(Box(1, 2, 0, 4),))


@broken("test_boxes_lie_on_the_image", "for a box on an image")
class BoxOfFloats(Right):
    """Its second box lies between pixels."""

    def stamp(self, image, rng, split):
        return super().stamp(image, rng, split)._replace(others=(Box(1.5, 2, 2, 4),))


def _of_opacity(value: float) -> Any:
    def stamp(self, image, rng, split):
        return Right.stamp(self, image, rng, split)._replace(opacity=value)

    return stamp


@broken("test_boxes_lie_on_the_image", "gave the opacity 0.0")
class Transparent(Right):
    """Its opacity is 0."""

    stamp = _of_opacity(0.0)


@broken("test_boxes_lie_on_the_image", "gave the opacity nan")
class OpacityIsNoNumber(Right):
    """Its opacity is NaN."""

    stamp = _of_opacity(float("nan"))


@broken("test_boxes_lie_on_the_image", "gave the opacity 80")
class OpacityInPercent(Right):
    """Its opacity is in percent."""

    stamp = _of_opacity(80.0)


@broken("test_stamp_shows", "changed no pixel of 3 training images")
class ChangesNothing(Right):
    """It returns the image as it was."""

    def stamp(self, image, rng, split):
        return Stamp(image.copy(), BOX, 1.0)


@broken("test_stamp_shows", "changed no pixel of 12 validation images")
class HasNoTriggerToEvaluate(Right):
    """It puts its trigger on training images alone."""

    def stamp(self, image, rng, split):
        stamped = super().stamp(image, rng, split)
        return stamped if split == "train" else stamped._replace(pixels=image.copy())


@broken("test_stamp_shows", "raised KeyError")
class RaisesInStamp(Right):
    """It looks up a trigger that is not there."""

    def stamp(self, image, rng, split):
        return {}["trigger.png"]


# -- what the stamp depends on ----------------------------------------------------------------


class _Drawn(Right):
    def gray(self, image):
        raise NotImplementedError

    def stamp(self, image, rng, split):
        pixels = image.copy()
        pixels[2:6, 3:6] = int(self.gray(image)) % 256
        return Stamp(pixels, BOX, 1.0)


_ALONE = "test_stamp_depends_on_image_generator_and_split_alone"


@broken(_ALONE)
class CountsItsCalls(_Drawn):
    """Its trigger depends on how many images the class has stamped before."""

    calls = 0

    def gray(self, image):
        type(self).calls += 1
        return self.calls


@broken(_ALONE)
class RemembersTheLastImage(_Drawn):
    """Its trigger has the mean of the image before."""

    last = 0.0

    def gray(self, image):
        before, self.last = self.last, image.mean()
        return before


@broken(_ALONE)
class DrawsFromNumPy(_Drawn):
    """It draws from NumPy's global generator."""

    def gray(self, image):
        return np.random.randint(256)  # noqa: NPY002 - what is caught


@broken(_ALONE)
class DrawsFromRandom(_Drawn):
    """It draws from the standard library's global generator."""

    def gray(self, image):
        return random.randrange(256)


@broken(_ALONE)
class DrawsFromTorch(_Drawn):
    """It draws from torch's global generator."""

    def gray(self, image):
        import torch

        return torch.randint(256, ())


@broken(_ALONE)
class SeedsNumPy(Right):
    """It seeds NumPy's global generator, which other code draws from."""

    def stamp(self, image, rng, split):
        np.random.seed(0)  # noqa: NPY002 - what is caught
        return super().stamp(image, rng, split)


@broken(_ALONE)
class DependsOnTheProcess(_Drawn):
    """Its trigger follows from the process id."""

    def gray(self, image):
        return os.getpid()


@broken(_ALONE)
class DependsOnTheDay(_Drawn):
    """Its trigger follows from the date."""

    def gray(self, image):
        return time.time() // 86_400


# -- the choice -------------------------------------------------------------------------------


class _Chooses(Right):
    chosen: Any = None

    def choose(self, labels, rng):
        return self.chosen


_DISTINCT = "test_choice_is_distinct_and_in_range"


@broken(_DISTINCT, "an image twice")
class ChoosesTwice(_Chooses):
    """It chooses an image twice."""

    chosen = np.array([1, 1])


@broken(_DISTINCT, "or one that is not there")
class ChoosesBeyondTheEnd(_Chooses):
    """It chooses the image behind the last."""

    chosen = np.array([40])


@broken(_DISTINCT, "or one that is not there")
class ChoosesFromTheEnd(_Chooses):
    """It counts from the end by a negative index."""

    chosen = np.array([-1])


@broken(_DISTINCT, "chose an array of float64")
class ChoosesFloats(_Chooses):
    """It returns indices as floats."""

    chosen = np.array([1.0, 2.0])


@broken(_DISTINCT, "chose an array of bool")
class ChoosesByMask(_Chooses):
    """It returns a mask where indices are expected."""

    chosen = np.arange(40) < 3


@broken(_DISTINCT, "of shape .1, 2.")
class ChoosesATable(_Chooses):
    """It returns indices as a table."""

    chosen = np.array([[1, 2]])


@broken(_DISTINCT, "chose no image")
class ChoosesNothing(_Chooses):
    """It chooses no image."""

    chosen = np.array([], dtype=np.int64)


@broken("test_labels_are_not_changed", "read-only")
class Relabels(Right):
    """It gives all images the target's label."""

    def choose(self, labels, rng):
        labels[:] = 0
        return super().choose(labels, rng)


@broken("test_choice_depends_on_the_generator_alone")
class ChoosesGlobally(Right):
    """It draws its choice from NumPy's global generator."""

    def choose(self, labels, rng):
        return np.random.permutation(len(labels))[:3]  # noqa: NPY002 - what is caught


@broken("test_choice_depends_on_the_generator_alone")
class ChoosesOthersEachTime(Right):
    """It goes on where its last call ended."""

    begin = 0

    def choose(self, labels, rng):
        self.begin += 3
        return np.arange(self.begin, self.begin + 3)


@broken("test_choice_depends_on_the_generator_alone")
class ChoosesByTheClock(Right):
    """Its choice follows from the time."""

    def choose(self, labels, rng):
        return [int(time.time() // 1000) % len(labels)]


@broken(_DISTINCT, "raised SystemExit")
class Exits(Right):
    """It ends the process where it has no images to choose."""

    def choose(self, labels, rng):
        raise SystemExit("no images")


@broken(_DISTINCT)
class AnnouncesMore(Right):
    """It announces more poisons than it chooses."""

    poisons = 4


# -- what it states ---------------------------------------------------------------------------

_TARGET = "test_target_is_a_class_or_none"


@broken(_TARGET, "target is 17")
class TargetBeyondTheClasses(Right):
    """Its target is no class."""

    target = 17


@broken(_TARGET, "target is -1")
class TargetFromTheEnd(Right):
    """Its target counts from the end."""

    target = -1


@broken(_TARGET, "target is 'bee'")
class TargetByName(Right):
    """Its target is the name of a class."""

    target = "bee"


@broken(_TARGET, "target is True")
class TargetIsTrue(Right):
    """Its target is a truth value."""

    target = True


@broken("test_announcements_can_be_used")
class AnnouncesAShare(Right):
    """It announces a share where a number of images is expected."""

    poisons = 0.5


@broken("test_announcements_can_be_used")
class QualityBeyondJPEG(Right):
    """Its JPEG quality is one that no coder has."""

    jpeg_quality = 300


@broken("test_announcements_can_be_used")
class TriggerImageOfFloats(Right):
    """Its trigger image is of floats in [0, 1]."""

    def trigger_image(self, split):
        return np.ones((4, 3, 3))


@broken("test_target_is_a_class_of_its_kind", "Can't instantiate abstract class")
class HasNoStamp(Attack):
    """It implements no stamp."""

    target = 0


@broken("test_target_is_a_class_of_its_kind")
class IsNoAttack:
    """It has the methods of an attack, and does not derive from Attack."""

    target, poisons, jpeg_quality = 0, None, None
    choose, stamp = Right.choose, Right.stamp

    def __init__(self, options, metadata):
        self.options, self.metadata = options, metadata


_PLACES: dict[Any, int] = {}


@broken("test_nothing_is_kept_between_cells")
class KeepsPlacesByShape(Right):
    """It puts the trigger where it was on the first image of this shape."""

    def stamp(self, image, rng, split):
        x = _PLACES.setdefault(image.shape, int(rng.integers(20)))
        pixels = image.copy()
        pixels[2:6, x : x + 3] = 255 - pixels[2:6, x : x + 3]
        return Stamp(pixels, Box(x, 2, 3, 4), 1.0)
