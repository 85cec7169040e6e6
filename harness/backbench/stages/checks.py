"""Comparisons before an encoder is trained, and before it is evaluated.

A mismatch stops the stage, and so the cells that need it: their numbers would be those of another
attack than the expected one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from backbench.errors import StageError
from backbench.options.training import TrainingOptions, ViewTrainingOptions
from backbench.plugin import Attack
from backbench.poison.manifest import read_manifest
from backbench.seeds import derive
from backbench.stages.inputs import Inputs, poisoned_images, stored_labels
from backbench.stages.task import Task
from backbench.store.flags import Flag
from backbench.store.integrity import checked
from backbench.store.metadata import PoisonRecord
from backbench.store.records import Record
from backbench.views.visibility import Visibility, covers_all, visibility, warning

#: View pairs of the estimate, or somewhat more: the poisons, some of them, or all several times.
PAIRS = 4000


def check_poison(inputs: Inputs) -> None:
    """Compare a poison's manifest and images with its record and the options of its attack.

    Raises:
        StageError: If they differ.
    """
    task, attack = inputs.task, inputs.attack
    record = task.record("poison")
    folder = task.input("poison")
    labels = stored_labels(task.input("dataset"), "train")
    marks = list(read_manifest(folder / "train.jsonl"))
    chosen = np.array([mark.index for mark in marks], dtype=np.int64)
    _refuse(record, _target_problems(attack, record))
    added = int((chosen >= len(labels)).sum())
    there = set(range(len(labels) + added))
    if len(np.unique(chosen)) < len(chosen) or not set(chosen.tolist()) <= there:
        _refuse(record, ["train.jsonl lists an image twice, or an image that is not there"])
    listed = np.array([mark.label for mark in marks], dtype=np.int64)
    problems = list(_count_problems(attack, record, chosen, labels))
    known = np.concatenate([labels, np.full(added, -1)])  # an added poison has no class
    if not np.array_equal(listed, known[chosen]):
        problems.append("train.jsonl gives images other classes than the dataset does")
    if sorted(poisoned_images(folder)) != sorted(chosen.tolist()):
        problems.append("the poisoned images are not those that train.jsonl lists")
    _refuse(record, problems)


def checked_target(inputs: Inputs) -> int | None:
    """Return the target of the task's poison, ``None`` without one or for an untargeted attack.

    Raises:
        StageError: If the poison's record and its attack's options differ in it.
    """
    if not inputs.task.has("poison"):
        return None
    record = inputs.task.record("poison")
    _refuse(record, _target_problems(inputs.attack, record))
    return record.of(PoisonRecord).target


def check_trigger(
    task: Task, poison: str, target: int | None, labels: NDArray[np.int64], classes: tuple[str, ...]
) -> None:
    """Compare the target that an evaluation counts with the poison of its trigger.

    Raises:
        StageError: If the poison's record or options have another target, or its manifest is of
            other images.
        StoreError: If the poison is damaged.
    """
    record = checked(task.store, poison)
    problems = []
    recorded = record.of(PoisonRecord).target
    if target != recorded:
        problems.append(
            f"the images with its trigger were made for target {_named(target, classes)}, and "
            f"its record says {_named(recorded, classes)}"
        )
    meant = record.stage.plugin and record.stage.plugin.options.get("target")
    if meant in classes and (target is None or classes[target] != meant):
        problems.append(
            f"ASR and FP would be counted for {_named(target, classes)}, and the options of its "
            f"attack say {meant}"
        )
    marks = list(read_manifest(task.store.artifact(poison) / "val.jsonl"))
    listed = [(mark.index, mark.label) for mark in marks]
    if listed != list(enumerate(labels.tolist())):
        problems.append(
            f"val.jsonl ({len(marks)} lines) is not of the {len(labels)} images that are "
            "evaluated, in their order and with their classes"
        )
    _refuse(record, problems)


def visibility_flag(inputs: Inputs, options: TrainingOptions) -> Iterator[Flag]:
    """Yield a flag if the trigger of a poison cannot work under a method's crops.

    Args:
        inputs: Inputs of the training.
        options: The options of the method.
    """
    shares = visibility_of(inputs, options)
    if shares is not None and (text := warning(shares)):
        yield Flag("trigger-visibility", text)


def visibility_of(inputs: Inputs, options: TrainingOptions) -> Visibility | None:
    """Estimate how often the trigger of a poison survives the crops of a method.

    Args:
        inputs: Inputs of the training.
        options: The options of the method.

    Returns:
        Shares of view pairs; ``None`` of views of the method's own making, and where no crop can
        lose the trigger.
    """
    if not isinstance(options, ViewTrainingOptions):
        return None
    marks = list(read_manifest(inputs.task.input("poison") / "train.jsonl"))
    marks = marks[:: max(1, len(marks) // PAIRS)]
    sizes = inputs.attacked_sizes(marks)
    rounds = -(-PAIRS // len(marks))
    marks, sizes = marks * rounds, np.tile(sizes, (rounds, 1))
    boxes = [mark.boxes for mark in marks]
    if covers_all(sizes, boxes):
        return None
    return visibility(options.views, sizes, boxes, derive(inputs.task.seed, "visibility"))


def _target_problems(attack: Attack, record: Record) -> Iterator[str]:
    made = record.of(PoisonRecord)
    recorded, name = made.target, made.target_name
    classes, meant = attack.metadata.classes, attack.target
    if type(attack).aim is not Attack.aim:  # it follows from the poisons
        meant = recorded
    if recorded != meant:
        yield (
            f"its record says target {_named(recorded, classes)}, and the attack's options mean "
            f"{_named(meant, classes)}"
        )
    elif recorded is not None and name != classes[recorded]:
        yield f"its record calls class {recorded} {name!r}, and its name is {classes[recorded]!r}"


def _count_problems(
    attack: Attack, record: Record, chosen: NDArray[np.int64], labels: NDArray[np.int64]
) -> Iterator[str]:
    announced = attack.poisons
    if announced is not None and len(chosen) != announced:
        yield (
            f"train.jsonl lists {len(chosen)} poisoned images, and the attack's options announce "
            f"{announced} of {len(labels)}"
        )
    made = record.of(PoisonRecord)
    counted = PoisonRecord.of(made.target, attack.metadata.classes, chosen, labels)
    for name in ("poisons", "added", "rate_of_dataset", "rate_of_target_class"):
        recorded, value = getattr(made, name), getattr(counted, name)
        if recorded != value:
            yield f"its record has {name} = {recorded}; by train.jsonl it is {value}"


def _named(target: int | None, classes: tuple[str, ...]) -> str:
    if target is None:
        return "none"
    return f"{target} ({classes[target]})" if 0 <= target < len(classes) else str(target)


def _refuse(record: Record, problems: Iterable[str]) -> None:
    """Stop the stage if there are problems, with all of them and how to make the poison anew."""
    found = "; ".join(problems)
    if found:
        raise StageError(
            f"{record.label}: {found}: its record or files have changed since it was made: "
            f"`backbench run --redo {record.key}` makes it again"
        )
