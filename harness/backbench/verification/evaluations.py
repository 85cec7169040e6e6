"""Check an evaluation's predictions, and the tables that come of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backbench.metrics import at, class_table, confusion_matrix
from backbench.model import VARIANT_NAME
from backbench.results.published_csv import per_class_csv
from backbench.store.metadata import DatasetRecord, EvaluationRecord, PoisonRecord
from backbench.store.predictions import PREDICTIONS, load_predictions
from backbench.store.records import Record
from backbench.verification.evidence import (
    Evidence,
    known,
    metadata_differences,
    parse_json,
    val_labels,
)

_VARIANT = re.compile(f"({VARIANT_NAME})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Setting:
    """The setting of an evaluation, read from the stages before it.

    Args:
        classes: Class names.
        labels: True classes of the validation images; ``None`` if no index has them.
        encoder: Key of the stage that made the encoder.
        poison: Key of the stage that made the trigger; ``None`` without an attack.
        target: Target class of the poison's record.
        variants: Names of the evaluator's variants; a single result has an empty name.
    """

    classes: Sequence[str]
    labels: NDArray[np.int64] | None
    encoder: str
    poison: str | None
    target: int | None
    variants: tuple[str, ...]


def _setting(record: Record, evidence: Evidence) -> Setting:
    """Read the setting of an evaluation."""
    inputs = dict(record.stage.inputs)
    if "clean" in inputs:  # the evaluator was shown features; the encoder's stages read images
        features = [inputs[role] for role in ("clean", "triggered") if role in inputs]
        inputs = {}
        for key in features:
            inputs |= known(evidence, key).stage.inputs
    poison = inputs.get("poison")
    dataset = inputs["dataset"]
    variants = record.of(EvaluationRecord).variants or ("",)
    if not all(_VARIANT.fullmatch(variant) for variant in variants):
        raise ValueError(f"variants {variants}")
    try:
        labels = val_labels(evidence, dataset)
    except (OSError, KeyError):
        labels = None
    return Setting(
        classes=known(evidence, dataset).of(DatasetRecord).dataset.classes,
        labels=labels,
        encoder=inputs["encoder"],
        poison=poison,
        target=known(evidence, poison).of(PoisonRecord).target if poison else None,
        variants=variants,
    )


def differences(record: Record, evidence: Evidence) -> Iterator[str]:
    """Check the predictions of an evaluation; compare its tables with what they come to."""
    asked = _setting(record, evidence)
    tensors = load_predictions(evidence.read(record.key, PREDICTIONS))
    for difference in _tensor_differences(tensors, asked):
        yield f"{PREDICTIONS}: {difference}"

    labels = tensors["labels"].astype(np.int64)
    expected = replace(
        record.of(EvaluationRecord),
        target=asked.target,
        images=len(labels),
        classes=len(asked.classes),
    )
    yield from metadata_differences(record, expected)

    said = evidence.read(record.key, "classes.json")
    if len(asked.classes) ** 2 > len(said):  # a table of so many numbers is longer
        yield f"classes.json: too short for {len(asked.classes)} classes"
        return
    tables: dict[str, Any] = {}
    for variant in asked.variants:
        found = {
            images: tensors[at(f"{images}_predictions", variant)].astype(np.int64)
            for images in _images(asked)
        }
        confusions = {
            images: confusion_matrix(labels, predicted, len(asked.classes))
            for images, predicted in found.items()
        }
        for images, confusion in confusions.items():
            tables[at(images, variant)] = class_table(confusion)
        name = f"classes_{variant}.csv" if variant else "classes.csv"
        text = per_class_csv(
            asked.classes,
            confusions["clean"],
            confusions.get("triggered"),
            model=asked.encoder,
            data=asked.poison or "",
        )
        if evidence.read(record.key, name).decode() != text:
            yield f"{name}: differs from the predictions"
    if parse_json(said) != tables:
        yield "classes.json: differs from the predictions"


def _images(asked: Setting) -> tuple[str, ...]:
    return ("clean", "triggered") if asked.poison else ("clean",)


def _tensor_differences(tensors: Mapping[str, NDArray[Any]], asked: Setting) -> Iterator[str]:
    """Check that predictions are whole, of the right images, and follow from their scores."""
    named = {
        at(f"{images}_{what}", variant)
        for variant in asked.variants
        for images in _images(asked)
        for what in ("scores", "predictions")
    }
    if set(tensors) != named | {"labels"}:
        yield f"holds {sorted(tensors)}, and should hold {sorted(named | {'labels'})}"
        return
    labels, classes = tensors["labels"], len(asked.classes)
    if asked.labels is not None and not np.array_equal(labels, asked.labels):
        yield "its labels are not those of the dataset's validation images"
    for name in sorted(tensors):
        array = tensors[name]
        is_scores = name.partition("@")[0].endswith("_scores")
        shape = (len(labels), classes) if is_scores else (len(labels),)
        if array.shape != shape or array.dtype.kind != ("f" if is_scores else "i"):
            yield f"{name} is {array.dtype} {array.shape}, and should be of shape {shape}"
            return
        if not is_scores and len(array) and (array.min() < 0 or array.max() >= classes):
            yield f"{name} has a class outside [0, {classes})"
            return
    for name in sorted(named):
        what, mark, variant = name.partition("@")
        if not what.endswith("_predictions"):
            continue
        scores = tensors[what.replace("_predictions", "_scores") + mark + variant]
        scores = scores.astype(np.promote_types(scores.dtype, np.float32))  # halves are slow
        chosen = scores[np.arange(len(scores)), tensors[name]]
        # Rounding to half precision keeps the order: what was the highest is among the highest.
        wrong = np.flatnonzero(chosen != scores.max(axis=1))
        if len(wrong):
            index = int(wrong[0])
            yield (
                f"{name} says class {int(tensors[name][index])} of image {index}, whose "
                f"highest score is that of class {int(scores[index].argmax())}"
            )
