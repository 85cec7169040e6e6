"""Derive a poison again from its seed, and compare it with manifest and images."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from backbench.data.packed import open_changed_images
from backbench.images import ImageSet, Pixels, added_source
from backbench.plugin import Attack, Split
from backbench.plugin.recipes import TRAIN
from backbench.poison.choice import aim_of
from backbench.poison.manifest import ManifestEntry, pixel_hash
from backbench.poison.poisoning import stamp
from backbench.seeds import derive
from backbench.stages.inputs import TRIGGERED, Inputs, poisoned_images
from backbench.stages.task import Task
from backbench.store.metadata import DatasetRecord, PoisonRecord
from backbench.store.records import Record
from backbench.verification.evidence import (
    Evidence,
    StoreEvidence,
    index_of,
    known,
    manifest,
    metadata_differences,
)


def manifest_differences(record: Record, evidence: Evidence) -> Iterator[str]:
    """Compare a poison's manifests with the dataset's index and with the seed, without images."""
    dataset = record.stage.inputs["dataset"]
    classes = known(evidence, dataset).of(DatasetRecord).dataset.classes
    index = index_of(evidence, dataset)
    seed = record.stage.seed
    if seed is None:
        yield "its record has no seed"
        return
    chosen = []
    for split in ("train", "val"):
        sources, labels = index[split]["sources"], index[split]["labels"]
        marks = manifest(evidence, record.key, split)
        before = -1
        for number, mark in enumerate(marks):
            line = f"{split}.jsonl: line {number + 1}"
            expected = number if split == "val" else _next_index(mark, before, len(labels))
            if mark.index != expected:
                yield f"{line} is of image {mark.index}, which is not in its place"
                return
            before = mark.index
            for difference in _line_differences(mark, sources, labels):
                yield f"{line}: {difference}"
            if mark.seed != derive(seed, "poison", split, mark.index):
                yield f"{line}: its seed does not follow from the stage's"
            if split == "train":
                chosen.append(mark.index)
        if split == "val" and before != len(labels) - 1:
            yield f"val.jsonl: {before + 1} lines for {len(labels)} images"
    target = record.of(PoisonRecord).target
    meant = record.stage.plugin and record.stage.plugin.options.get("target")
    if target is not None and meant in classes and classes[target] != meant:
        yield f"its record says target = {target} ({classes[target]}), its options say {meant}"
    labels = np.asarray(index["train"]["labels"])
    threat = record.of(PoisonRecord).threat  # known where the attack is run again
    counted = PoisonRecord.of(target, classes, np.array(chosen, dtype=np.int64), labels, threat)
    yield from metadata_differences(record, counted)


def _line_differences(
    mark: ManifestEntry, sources: Sequence[str], labels: Sequence[int]
) -> Iterator[str]:
    """Compare a line with the names and classes of the clean images of its split."""
    if mark.index < len(labels):
        named = sources[mark.index], labels[mark.index]
    else:
        named = added_source(mark.index - len(labels)), -1
    if (mark.source, mark.label) != named:
        yield f"source and label are not those of image {mark.index}"
    for part in mark.parts:
        if part.set == TRAIN and part.source not in sources[part.index : part.index + 1]:
            yield f"{part.source} is not the training image {part.index}"


def _next_index(mark: ManifestEntry, before: int, images: int) -> int | None:
    """Return the index of a poison if it may follow another one; added poisons leave no gap."""
    if before < mark.index < images:
        return mark.index
    return max(before + 1, images) if mark.parts else None


def differences(task: Task, record: Record) -> Iterator[str]:
    """Stamp every image of a stage again, and compare them with its artifact.

    The images of a learned trigger, which another device would round otherwise, are compared with
    the hashes of the manifest instead.

    Raises:
        DataError: If the clean images are not there.
        PluginError: If the attack is not.
    """
    implementation, options, _ = task.plugin()
    inputs = Inputs(task)
    metadata, train, val = inputs.metadata, inputs.train, inputs.val
    attacked, fit = inputs.attacked
    attack: Attack = implementation(options, metadata)
    poison = inputs.poison(attack)
    chosen = poison.chosen
    evidence = StoreEvidence(task.store)
    marks = manifest(evidence, record.key, "train")
    if [mark.index for mark in marks] != chosen.tolist():
        yield "train.jsonl: lists other images than the attack chooses with this seed"
        return
    images = poisoned_images(task.folder)
    if sorted(images) != chosen.tolist():
        yield "the stored images are not those of train.jsonl"
        return
    said = manifest(evidence, record.key, "val")
    if len(said) != len(val):
        yield f"val.jsonl: {len(said)} lines for {len(val)} images"
        return
    if task.has("trigger"):
        whole = fit is None and attack.jpeg_quality is None
        yield from _hash_differences("train", marks, attacked, images if whole else {})
        kept = open_changed_images(task.folder / TRIGGERED)
        yield from _hash_differences("val", said, val, kept)
    else:
        described = zip(marks, poison.described(), strict=True)
        for number, (mark, (derived, image)) in enumerate(described):
            yield from _mark_differences("train", number, mark, derived)
            yield from _image_differences(mark.index, images[mark.index], image)
        for number, mark in enumerate(said):
            derived = stamp(attack, val, number, "val", task.seed)[1]
            yield from _mark_differences("val", number, mark, derived)
    threat = record.of(PoisonRecord).threat and poison.threat  # older records have none
    target = aim_of(attack, chosen, train.labels)
    counted = PoisonRecord.of(target, metadata.classes, chosen, train.labels, threat)
    yield from metadata_differences(record, counted)


def _mark_differences(
    split: Split, number: int, said: ManifestEntry, derived: ManifestEntry
) -> Iterator[str]:
    for field in dataclasses.fields(ManifestEntry):
        one, other = getattr(said, field.name), getattr(derived, field.name)
        if one != other:
            yield (
                f"{split}.jsonl: line {number + 1} says {field.name} = {_shown(one)}; derived from "
                f"the seed it is {_shown(other)}"
            )


def _hash_differences(
    split: Split, marks: Sequence[ManifestEntry], clean: ImageSet, stored: Mapping[int, Pixels]
) -> Iterator[str]:
    """Compare clean images, and the stamped images as far as they are stored, with a manifest."""
    for number, mark in enumerate(marks):
        line = f"{split}.jsonl: line {number + 1} ({mark.source})"
        if not mark.parts and pixel_hash(clean.image(mark.index)) != mark.before:
            yield f"{line} was made of another image"
        if mark.index in stored and pixel_hash(stored[mark.index]) != mark.after:
            yield f"{line} describes another image than the stored image {mark.index}"


def _shown(value: Any) -> str:
    if not isinstance(value, tuple):
        return repr(value)
    return str([list(one) if isinstance(one, tuple) else one for one in value])


def _image_differences(index: int, stored: Pixels, derived: Pixels) -> Iterator[str]:
    if stored.shape != derived.shape:
        yield f"poisoned image {index}: {stored.shape}, and should be {derived.shape}"
        return
    changed = np.argwhere((stored != derived).any(axis=2))
    if len(changed):
        y, x = changed[0].tolist()
        yield (
            f"poisoned image {index}: {len(changed)} pixels are not what the seed gives, the "
            f"first at x = {x}, y = {y}"
        )
