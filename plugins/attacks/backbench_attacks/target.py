"""The option ``target``: whether it names a class, and how many images the class has."""

from __future__ import annotations

from backbench.plugin import DatasetMetadata, suggestion


def target_problem(target: str, classes: tuple[str, ...]) -> str:
    """Return why a class cannot be the target; empty if it can."""
    if target in classes:
        return ""
    if not classes:
        return "target: the images of this dataset have no labels, by which a target is known"
    return f"target: there is no class {target!r}{suggestion(target, classes)}"


def images_of(target: str, data: DatasetMetadata) -> int:
    """Return the number of training images of a class."""
    return data.train_per_class[data.classes.index(target)]
