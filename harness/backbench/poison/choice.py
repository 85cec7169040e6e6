"""Choice of the poisons of an attack: their recipes, and the problems with them."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from backbench.errors import ResultError
from backbench.images import Labels, read_only
from backbench.plugin import Attack, Part, Recipe
from backbench.plugin.recipes import TRAIN
from backbench.poison.access import Access
from backbench.seeds import derive

#: Most poisons for each training image: a list that is longer may never end.
_MOST_OF_AN_IMAGE: Final = 100


def choose(attack: Attack, access: Access, seed: int) -> dict[int, Recipe]:
    """Let an attack list its poisons.

    Args:
        attack: The attack.
        access: The images and whatever else it may request.
        seed: Seed of the poison.

    Returns:
        The recipe of each poison by its index in the poisoned training set, ascending; those from
        the number of clean images on are added, in the order in which the attack lists them.

    Raises:
        ResultError: If nothing would be poisoned, or a recipe is of images that are not there.
    """
    _checked_target(attack.target, len(attack.metadata.classes))
    rng = np.random.default_rng(derive(seed, "poison", "choose"))
    if type(attack).recipes is Attack.recipes:
        known = attack.reads_labels
        labels = access.labels(TRAIN) if known else read_only(np.full(access.images, -1))
        indices = _distinct(attack.choose(labels, rng), access.images)
        return {index: plain_recipe(index) for index in indices.tolist()}
    replaced: dict[int, Recipe] = {}
    added: list[Recipe] = []
    for number, given in enumerate(attack.recipes(access.context(), rng)):
        if number == _MOST_OF_AN_IMAGE * access.images:
            raise ResultError(
                f"the attack lists more than {number:,} recipes for {access.images:,} images: the "
                "list must end"
            )
        recipe = _checked_recipe(given, number, access)
        if recipe.replaces is None:
            added.append(recipe)
        elif recipe.replaces in replaced:
            raise ResultError(f"recipe {number} of the attack replaces an image for a second time")
        else:
            replaced[recipe.replaces] = recipe
    if not replaced and not added:
        raise ResultError("the attack lists no recipe: nothing would be poisoned")
    return dict(sorted(replaced.items())) | dict(enumerate(added, start=access.images))


def aim_of(attack: Attack, chosen: NDArray[np.int64], labels: Labels) -> int | None:
    """Return the class that an attack's trigger stands for, given its poisons.

    Args:
        attack: The attack.
        chosen: Indices of the poisons, (M,).
        labels: Classes of the clean training images, (N,).

    Raises:
        ResultError: If it is no class.
    """
    found = attack.aim(read_only(labels[chosen[chosen < len(labels)]]))
    return _checked_target(found, len(attack.metadata.classes))


def _checked_target(target: Any, classes: int) -> int | None:
    if target is not None and not (is_index(target) and 0 <= target < classes):
        raise ResultError(
            f"the attack's target is {target!r}: it must be the index of one of {classes} classes, "
            "or None"
        )
    return None if target is None else int(target)


def plain_recipe(index: int) -> Recipe:
    """Return the recipe of a training image that is stamped in its place."""
    return Recipe((Part(TRAIN, index),), index)


def _distinct(given: object, images: int) -> NDArray[np.int64]:
    """Return the training images that an attack chose, (M,), sorted."""
    if np.ma.is_masked(given):
        raise ResultError("the attack chose images of which some are masked: leave them out")
    chosen = np.asarray(given)
    if not chosen.size:
        raise ResultError("the attack chose no image: nothing would be poisoned")
    if chosen.ndim != 1 or chosen.dtype.kind not in "iu":
        raise ResultError(
            f"the attack chose an array of {chosen.dtype}, of shape {chosen.shape}: it must be the "
            "indices of images"
        )
    chosen = np.sort(chosen.astype(np.int64))
    if chosen[0] < 0 or chosen[-1] >= images or (np.diff(chosen) == 0).any():
        raise ResultError("the attack chose an image twice, or one that is not there")
    return chosen


def _checked_recipe(given: Any, number: int, access: Access) -> Recipe:
    """Return a recipe of plain integers."""
    who = f"recipe {number} of the attack"
    if not isinstance(given, Recipe) or not given.parts:
        raise ResultError(f"{who} is {given!r}: it must be a Recipe of one part or more")
    parts: list[Part] = []
    part: Any
    for part in given.parts:
        if not (isinstance(part, Part) and part.set in access.names and is_index(part.index)):
            raise ResultError(
                f"{who} has the part {part!r}: it must be a Part of one of the sets "
                f"{', '.join(access.names)}"
            )
        if not 0 <= part.index < len(access.set(part.set)):
            raise ResultError(
                f"{who} has image {part.index} of {part.set!r}, which has "
                f"{len(access.set(part.set))} images"
            )
        parts.append(Part(part.set, int(part.index)))
    place = given.replaces
    if place is not None and not (is_index(place) and 0 <= place < access.images):
        raise ResultError(f"{who} replaces {place!r}: it must be the index of a training image")
    return Recipe(tuple(parts), None if place is None else int(place))


def is_index(value: object) -> bool:
    """Return whether a value is an integer, and no truth value."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)
