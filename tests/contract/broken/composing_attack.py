"""Attacks on the dataset that compose and add poisons, and choose them by features."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from backbench.model import StageKind
from backbench.plugin import AttackInfo, Box, Part, Recipe, Stamp
from backbench.testing import AttackContract
from backbench.testing.hygiene import run_once
from backbench.testing.samples import tiny_encoder
from tests.contract.broken import attack, broken


class Right(attack.Right):
    """It replaces two images, and adds two; each is an image with the half of its neighbor."""

    target: Any = None

    def aim(self, classes):
        return int(np.bincount(classes).argmax())

    def recipes(self, context, rng):
        features = context.features()
        anchor = rng.integers(len(features))
        near = np.argsort(-features @ features[anchor], kind="stable")[:5].tolist()
        for number, (first, second) in enumerate(pairwise(near)):
            parts = Part("train", first), Part("train", second)
            yield Recipe(parts, first if number < 2 else None)

    def compose(self, parts, rng):
        first, second = parts
        return self.stamp(np.concatenate([first, second[:, :16]], axis=1), rng, "train")


class Kit(AttackContract):
    __test__ = False
    info = AttackInfo(
        name="halves", summary="Two halves.", target=f"{__name__}:Right", reads_encoder=True
    )
    sample: Any = Right

    def implementation(self):
        return self.sample


def harness(kit: Kit, folder: Path) -> None:
    run_once(folder, kit, StageKind.POISON, encoder=tiny_encoder())


# -- the recipes ------------------------------------------------------------------------------

_LISTED = "test_choice_is_distinct_and_in_range"


def _lists(*recipes: Any) -> Any:
    def listed(self, context, rng):
        return recipes

    return listed


def _of(part: Any, place: Any = 0) -> Recipe:
    return Recipe((part, Part("train", 1)), place)


@broken(_LISTED, "lists no recipe")
class ListsNothing(Right):
    """It lists no poison."""

    recipes = _lists()


@broken(_LISTED, "raised TypeError")
class ReturnsNone(Right):
    """It forgets to return its recipes."""

    def recipes(self, context, rng):
        context.features()


@broken(_LISTED, "must be a Recipe of one part or more")
class HasNoPart(Right):
    """Its second poison is made of no image."""

    recipes = _lists(_of(Part("train", 0)), Recipe((), 1))


@broken(_LISTED, "recipe 0 of the attack is .*: it must be a Recipe")
class ListsIndices(Right):
    """It lists indices where recipes are expected."""

    recipes = _lists(0, 1)


@broken(_LISTED, "must be a Part of one of the sets train")
class PartOfNoSet(Right):
    """It names a set that none of its options gives."""

    recipes = _lists(_of(Part("val", 0)))


@broken(_LISTED, "must be a Part")
class PartIsAPair(Right):
    """A part of it is a plain tuple."""

    recipes = _lists(_of(("train", 0)))


@broken(_LISTED, "has image 40 of 'train', which has 40 images")
class PartBeyondTheEnd(Right):
    """A part of it is the image behind the last."""

    recipes = _lists(_of(Part("train", 40)))


@broken(_LISTED, "has image -1 of 'train'")
class PartFromTheEnd(Right):
    """A part of it counts from the end."""

    recipes = _lists(_of(Part("train", -1)))


@broken(_LISTED, "must be a Part")
class PartBetweenImages(Right):
    """The index of a part is a float."""

    recipes = _lists(_of(Part("train", 1.0)))  # type: ignore[arg-type]


@broken(_LISTED, "replaces an image for a second time")
class ReplacesTwice(Right):
    """Two of its poisons replace the same image."""

    recipes = _lists(_of(Part("train", 0)), _of(Part("train", 2)))


@broken(_LISTED, "replaces 40: it must be the index of a training image")
class ReplacesBeyondTheEnd(Right):
    """It replaces the image behind the last, instead of adding a poison."""

    recipes = _lists(_of(Part("train", 0), 40))


@broken(_LISTED, "replaces -1")
class ReplacesFromTheEnd(Right):
    """It marks an added poison by -1."""

    recipes = _lists(_of(Part("train", 0), -1))


@broken(_LISTED, "replaces True")
class ReplacesTrue(Right):
    """It gives a truth value where an index is expected."""

    recipes = _lists(_of(Part("train", 0), place=True))


@broken(_LISTED, "raised KeyError")
class OpensNoSet(Right):
    """It asks for a set that none of its options gives."""

    def recipes(self, context, rng):
        return [_of(Part("train", len(context.sets["backgrounds"]) - 1))]


@broken(_LISTED, "asks for the labels of 'val'")
class ReadsLabelsOfValidation(Right):
    """It asks for the classes of validation images."""

    def recipes(self, context, rng):
        return [_of(Part("train", int(context.labels("val")[0])))]


@broken(_LISTED, "lists no recipe")
class ReadsLabelsThatAreNotThere(Right):
    """It takes classes from the images, without asking for labels."""

    def recipes(self, context, rng):
        for index in np.flatnonzero(context.sets["train"].labels == 0):
            yield _of(Part("train", int(index)), None)


@broken(_LISTED, "read-only")
class ScalesTheFeatures(Right):
    """It scales the features in place, which other attacks read."""

    def recipes(self, context, rng):
        features = context.features()
        features /= np.linalg.norm(features, axis=1, keepdims=True)
        return super().recipes(context, rng)


@broken(_LISTED)
class AnnouncesReplacedAlone(Right):
    """It does not count added poisons in what it announces."""

    poisons = 2


_CHOICE = "test_choice_depends_on_the_generator_alone"


@broken(_CHOICE)
class DrawsItsAnchor(Right):
    """It draws recipes from a generator without a seed."""

    def recipes(self, context, rng):
        return super().recipes(context, np.random.default_rng())


@broken(_CHOICE)
class ListsInAnotherOrder(Right):
    """The order of its added poisons follows from the process."""

    def recipes(self, context, rng):
        listed = [one._replace(replaces=None) for one in super().recipes(context, rng)]
        return listed[:: -1 if os.getpid() % 2 else 1]


# -- the composition --------------------------------------------------------------------------

_PARTS = "test_composing_does_not_change_its_parts"
_ALONE = "test_composing_depends_on_parts_and_generator_alone"


@broken(_PARTS, "read-only")
class WritesIntoAPart(Right):
    """It pastes into the image that it is given."""

    def compose(self, parts, rng):
        parts[0][:, :16] = parts[1][:, :16]
        return self.stamp(parts[0], rng, "train")


@broken(_PARTS, "raised AttributeError")
class TurnsItsParts(Right):
    """It reverses the parts in place: the manifest would name them in the wrong order."""

    def compose(self, parts, rng):
        parts.reverse()
        return super().compose(parts, rng)


@broken(_PARTS, "gave a ndarray: it must be a Stamp")
class ReturnsPixels(Right):
    """It returns an array where a Stamp is expected."""

    def compose(self, parts, rng):
        return super().compose(parts, rng).pixels


@broken(_PARTS, "gave float64")
class MixesFloats(Right):
    """It returns the mean of its parts as floats."""

    def compose(self, parts, rng):
        return Stamp((parts[0] + parts[1]) / 2, None, 1.0)


@broken(_PARTS, "it must be uint8 .H, W, 3.")
class KeepsAlpha(Right):
    """It returns a fourth channel."""

    def compose(self, parts, rng):
        return Stamp(np.dstack([parts[0], parts[1][:, :, 0]]), None, 1.0)


@broken(_PARTS, "height and width must lie in")
class ComposesNothing(Right):
    """It returns an image without a row."""

    def compose(self, parts, rng):
        return Stamp(parts[0][:0].copy(), None, 1.0)


@broken(_PARTS, "height and width must lie in")
class ComposesWithoutBound(Right):
    """It repeats an image to a side that no image has."""

    def compose(self, parts, rng):
        return Stamp(np.repeat(parts[0][:1], 100_000, axis=0), None, 1.0)


@broken(_PARTS, "for a box on an image of 48 x 32 px")
class BoxBesideThePoison(Right):
    """Its box lies beside the poison."""

    def compose(self, parts, rng):
        return super().compose(parts, rng)._replace(box=Box(46, 0, 4, 4))


@broken(_PARTS, "gave the opacity nan")
class OpacityIsNoNumber(Right):
    """The opacity of its poisons is NaN."""

    def compose(self, parts, rng):
        return super().compose(parts, rng)._replace(opacity=float("nan"))


@broken(_PARTS, "raised ValueError")
class ComposesThree(Right):
    """It composes three images, and lists two."""

    def compose(self, parts, rng):
        first, second, third = parts
        return Stamp(np.concatenate([first, second, third]), None, 1.0)


@broken("test_poisons_show", "changed no pixel of 4 training images: stamp or compose must")
class CopiesAPart(Right):
    """Its poisons are training images as they were."""

    def compose(self, parts, rng):
        return Stamp(parts[1].copy(), None, 1.0)


@broken("test_boxes_of_a_poison_show_its_trigger")
class BoxStaysBehind(Right):
    """It pastes the stamped image at the right, and leaves its box at the left."""

    def compose(self, parts, rng):
        first, second = parts
        stamped = self.stamp(second, rng, "train")
        return stamped._replace(pixels=np.concatenate([first, stamped.pixels], axis=1))


class _Drawn(Right):
    def gray(self, parts):
        raise NotImplementedError

    def compose(self, parts, rng):
        pixels = parts[0].copy()
        pixels[:4, :4] = int(self.gray(parts)) % 256
        return Stamp(pixels, Box(0, 0, 4, 4), 1.0)


@broken(_ALONE)
class CountsItsPoisons(_Drawn):
    """A poison follows from how many came before it."""

    calls = 0

    def gray(self, parts):
        self.calls += 1
        return self.calls


@broken(_ALONE)
class RemembersThePart(_Drawn):
    """A poison has the mean of the one before."""

    last = 0.0

    def gray(self, parts):
        before, self.last = self.last, parts[0].mean()
        return before


@broken(_ALONE)
class KeepsTheContext(_Drawn):
    """It composes from an image that it has kept, and that is no part."""

    def recipes(self, context, rng):
        self.kept = context.sets["train"]
        return super().recipes(context, rng)

    def gray(self, parts):
        return self.kept.image(0).mean()


@broken(_ALONE)
class KeepsItsAnchor(_Drawn):
    """It keeps what it has listed, and composes from it where it is there."""

    anchor = 0

    def recipes(self, context, rng):
        self.anchor = 255
        return super().recipes(context, rng)

    def gray(self, parts):
        return self.anchor


@broken(_ALONE)
class DrawsFromNumPy(_Drawn):
    """It composes by NumPy's global generator."""

    def gray(self, parts):
        return np.random.randint(256)  # noqa: NPY002 - what is caught


@broken(_ALONE)
class DrawsAnew(_Drawn):
    """It composes by a generator without a seed."""

    def gray(self, parts):
        return np.random.default_rng().integers(256)


# -- the class that it stands for -------------------------------------------------------------

_AIM = "test_aim_follows_from_the_poisons_alone"


@broken(_AIM, "target is 7")
class AimsBeyondTheClasses(Right):
    """It stands for a class that is not there."""

    def aim(self, classes):
        return 7


@broken(_AIM, "target is .*[01].0")
class AimsByAFloat(Right):
    """It returns its class as a float."""

    def aim(self, classes):
        return float(classes.mean() > 1)


@broken(_AIM)
class AimsByTheProcess(Right):
    """Its class follows from the process id."""

    def aim(self, classes):
        return os.getpid() % 3


@broken(_AIM, "read-only")
class SortsTheClasses(Right):
    """It sorts the classes that it is given, in place."""

    def aim(self, classes):
        classes.sort()
        return int(classes[0])
