"""From a request to a plan of files: choose the images, and check everything before writing."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from backbench.data.decode import flaw
from backbench.data.encode import through_jpeg
from backbench.data.folder import ImageFolder
from backbench.data.list_files import format_line
from backbench.data.many import map_threads, spread
from backbench.errors import BackbenchError, ConfigError, DataError, Problem
from backbench.plugin import Attack
from backbench.plugin.calling import plugin_code
from backbench.poison.access import Access
from backbench.poison.choice import aim_of
from backbench.poison.files.layout import own_layout, published_layout
from backbench.poison.files.layout_plan import Plan
from backbench.poison.files.request import Request
from backbench.poison.files.sources import SplitImages
from backbench.poison.poisoning import Poison, compose_parts, stamp_image
from backbench.system import files

#: Images that a message names.
_NAMED = 5
_MOST_UNREADABLE = 20

#: Images that are compared with and without JPEG, and how much of the trigger is to be left.
_COMPARED = 4
_LEAST_LEFT = 0.5


def make_plan(request: Request) -> Plan:
    """Choose the images, name the files, and check everything before anything is written."""
    poison, options = request.poison, request.attack.options
    if poison.id is None:
        layout = own_layout(request.out)
    else:
        layout = published_layout(
            request.out, request.lists, poison.id, options, columns=poison.patch_columns
        )
    train, val = (SplitImages(request.data, split) for split in ("train", "val"))
    try:
        with plugin_code(request.attack.registered):
            attack: Attack = request.attack.registered.implementation()(options, request.metadata)
            access = Access(train.images, request.open_sets())
            poisons = Poison(attack, access, request.seed)
            target = aim_of(attack, poisons.chosen, train.labels)
    except BackbenchError as error:
        raise ConfigError(request.source, [Problem(request.attack.path, str(error))]) from error
    if target is None and any(index >= len(train) for index in poisons):
        sentence = "the attack adds images and has no target: there is no class to list them under"
        raise ConfigError(request.source, [Problem(request.attack.path, sentence)])
    plan = Plan(request, attack, layout, train, val, access, poisons, target)
    problems = [*_too_small(plan), *_paths(plan), *existing_problems(plan)]
    problems = problems or list(_unreadable(plan)) or list(_tried(plan)) or list(_erased(plan))
    if problems:
        raise ConfigError(request.source, problems)
    return plan


def _too_small(plan: Plan) -> Iterator[Problem]:
    """Check the attack's options against the sizes that the images really have."""
    attack, metadata = plan.request.attack, plan.request.metadata

    def at(size: tuple[int, int] | None) -> list[str]:
        check = attack.options.problems
        return attack.problems(check, dataclasses.replace(metadata, size=size))

    known = set(at(None))

    def sentences(size: tuple[int, int]) -> list[str]:
        return [one for one in at(size) if one not in known]

    sizes: dict[tuple[int, int], str] = {}
    for group in plan.groups:
        # what a poison is composed of may have any size that the attack copes with: see _tried
        if group.stamped and not plan.is_composed(group):
            for size, source in group.images.sizes(group.indices).items():
                sizes.setdefault(size, source)
    smallest = min((h for h, _ in sizes), default=0), min((w for _, w in sizes), default=0)
    if not sizes or not sentences(smallest):
        return
    wrong = {source: found for size, source in sizes.items() if (found := sentences(size))}
    path = plan.request.attack.path
    for source, found in list(wrong.items())[:_NAMED]:
        yield from (Problem(path, f"{source}: {one}") for one in found)
    if len(wrong) > _NAMED:
        yield Problem(path, f"and {len(wrong) - _NAMED} more sizes of images")


def _paths(plan: Plan) -> Iterator[Problem]:
    """Yield paths that no list can hold or that lead out of the folder, and unfit folders."""
    columns = (0, 0, 1, 1) if plan.request.poison.patch_columns else ()
    problems = []
    for group in plan.groups:
        folder = f"{plan.layout.images[group.part]}{os.sep}"
        for index in group.indices:
            path = plan.path(group.part, group.images.split, index)
            problems += _unlistable(path, columns)
            if not os.path.normpath(path).startswith(folder):
                problems.append(f"{path}: is not below {folder}; rename the class or the image")
    listed = plan.train.paths if "train" in plan.request.poison.splits else None
    for path in listed or ():
        problems += _unlistable(os.path.abspath(path), ())  # noqa: PTH100 - many
    yield from _some(problems, "paths")
    yield from _among_the_dataset(plan)


def _among_the_dataset(plan: Plan) -> Iterator[Problem]:
    """Yield the places that the dataset itself lies in."""
    own = tuple(os.path.realpath(plan.layout.images[part]) + os.sep for part in plan.parts)
    folders = {
        os.path.dirname(path): path  # noqa: PTH120 - many
        for path in (*(plan.train.paths or ()), *(plan.val.paths or ()))
    }
    for folder, path in folders.items():
        if f"{os.path.realpath(folder)}{os.sep}".startswith(own):
            yield Problem("out", f"the dataset itself lies there ({path}); choose another folder")
            break
    data = plan.request.data
    if isinstance(data, ImageFolder):
        for split in (data.options.root / data.options.train, data.options.root / data.options.val):
            folder = os.path.realpath(split) + os.sep
            if any(one.startswith(folder) for one in own):
                yield Problem("out", f"lies among the class folders of {folder}; choose another")


def _unreadable(plan: Plan) -> Iterator[Problem]:
    """Read all images that will be written, before the first is; what is begun is only checked."""
    if plan.layout.summary.exists():
        return
    wanted = {
        path
        for group in plan.groups
        for index in group.indices
        for path in (
            plan.before(group, index),
            *(part.path for part in plan.composed_of(group, index)),
        )
        if isinstance(path, str) and path
    }
    found = [one for one in map_threads(flaw, sorted(wanted), chunk=8) if one]
    yield from _some(found, "images that cannot be read", _MOST_UNREADABLE)


def _some(messages: Sequence[str], what: str, most: int = _NAMED) -> Iterator[Problem]:
    for message in messages[:most]:
        yield Problem("", message)
    if len(messages) > most:
        yield Problem("", f"and {len(messages) - most} more {what}")


def _tried(plan: Plan) -> Iterator[Problem]:
    """Compose some poisons, before anything is written."""
    group = plan.stamped[0]
    if group.part not in plan.parts or not plan.is_composed(group):
        return
    for index in [group.indices[i] for i in spread(len(group.indices), _COMPARED)]:
        parts = [part.opened() for part in plan.composed_of(group, index)]
        who = plan.ref(group, index)
        try:
            with plugin_code(f"{who.source}: compose"):
                compose_parts(plan.attack, parts, None, who, plan.request.seed)
        except BackbenchError as error:
            yield Problem(plan.request.attack.path, str(error))
            return


def _erased(plan: Plan) -> Iterator[Problem]:
    """Compare some images with and without the trigger, each as it is written and read again.

    A composed poison has no image without the trigger: there the validation images are compared.
    """
    group = plan.stamped[1 if plan.poisons.composed else 0]
    if plan.request.format != "jpeg" or not group.indices:
        return
    left = []
    for index in [group.indices[i] for i in spread(len(group.indices), _COMPARED)]:
        clean, who = group.images.decoded(index), group.images.ref(index)
        stamped = stamp_image(plan.attack, clean, who, group.images.split, plan.request.seed)[0]
        as_files = (through_jpeg(one, plan.request.quality) for one in (stamped, clean))
        before, after = (
            np.subtract(*pair, dtype=np.float64) for pair in ((stamped, clean), tuple(as_files))
        )
        left.append(float((before * after).sum() / max(1.0, (before * before).sum())))
    share = float(np.median(left))
    if share < _LEAST_LEFT:
        yield Problem(
            "format",
            f"JPEG of quality {plan.request.quality}, with half the resolution in color (4:2:0), "
            f"leaves {max(0.0, share):.0%} of the trigger; choose png (--format png)",
        )


def _unlistable(path: str, columns: tuple[int, ...]) -> list[str]:
    try:
        format_line(path, 0, *columns)
    except DataError as error:
        return [str(error)]
    return []


def existing_problems(plan: Plan) -> Iterator[Problem]:
    """Yield what is there already and is not ours to continue."""
    summary = plan.layout.summary
    if summary.exists():
        try:
            there = json.loads(files.read_text(summary))["request"]
            other = [key for key, value in plan.identity.items() if there.get(key) != value]
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            yield Problem("out", f"{summary}: not a summary of ours; remove it, or choose another")
            return
        if other:
            said = "; ".join(f"{key}: {_difference(there, plan.identity, key)}" for key in other)
            yield Problem(
                "out", f"{plan.layout.home} holds other poison ({said}); choose another folder"
            )
        return
    for part in plan.parts:
        folder = plan.layout.images[part]
        if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
            yield Problem("out", f"{folder} is not empty and not ours; choose another folder")
    named = (plan.layout.lists, plan.layout.manifests)
    own = [*(files_of[part] for part in plan.parts for files_of in named)]
    for file in (*own, plan.layout.sheet, plan.layout.trigger):
        if file.exists():
            yield Problem("out", f"{file} is there and not ours; choose another folder")


def _difference(there: dict[str, Any], here: dict[str, Any], key: str) -> str:
    old, new = there.get(key), here[key]
    if isinstance(old, dict) and isinstance(new, dict):
        changed = [one for one in {**old, **new} if old.get(one) != new.get(one)]
        return ", ".join(f"{one} {old.get(one)!r}, now {new.get(one)!r}" for one in changed)
    return f"{old!r}, now {new!r}"
