"""Fit a classifier on clean images, and count what it says with and without the trigger."""

from __future__ import annotations

import hashlib
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load, save_file

from backbench.errors import StageError
from backbench.images import Unlabelled
from backbench.metrics import (
    HEAD_NAME,
    METRICS_VERSION,
    Denominator,
    at,
    class_table,
    confusion_matrix,
    score,
)
from backbench.plugin import (
    EvaluationContext,
    Evaluator,
    EvaluatorInfo,
    ImageEvaluator,
    Scores,
)
from backbench.results.published_csv import per_class_csv
from backbench.seeds import derive
from backbench.stages.checks import check_target, check_trigger
from backbench.stages.classifiers import Learnt, keep, name_of, recall
from backbench.stages.features import FILE
from backbench.stages.inputs import clean_images, metadata_of, triggered_images
from backbench.stages.task import Outcome, Task
from backbench.store.metadata import (
    DatasetRecord,
    EvaluationRecord,
    FeaturesRecord,
    PoisonRecord,
)
from backbench.store.predictions import PREDICTIONS, write_predictions
from backbench.store.records import Record

#: Where what an evaluator has learnt is kept.
HEAD = "head.safetensors"

#: Says in a stage's content that ``asr`` is a share of all images.
ALL_IMAGES = "asr:all-images"

#: Says in a stage's content which head is used instead of learning one; a SHA-256 follows.
GIVEN_HEAD = "head:"

_HEAD_NAME = re.compile(HEAD_NAME, re.ASCII)


def run(task: Task) -> Outcome:
    """Write the head, per-image predictions, confusion matrices and per-class counts.

    Nothing of the validation split is read before the evaluator has learnt, and its labels are
    not read before then either; they are never shown to it.
    """
    denominator, sha256 = _settings(task.stage.content)
    shown = _shown(task)
    if sha256:
        _restore(shown.evaluator, Path(task.stage.given["head"]["path"]), sha256)
        learnt = _what_it_says(shown)
    else:
        learnt = _learn(shown, name_of(task.stage, task.store.root))
    if learnt.state:
        save_file(dict(learnt.state), task.folder / HEAD)

    labels, classes = shown.labels(), len(shown.classes)
    if shown.poison is not None:
        check_trigger(task, shown.poison, shown.target, labels, shown.classes)
    predicted: dict[str, dict[str, NDArray[np.int64]]] = {}
    tensors: dict[str, NDArray[Any]] = {"labels": labels}
    for version in ("clean", *(("triggered",) if shown.poison is not None else ())):
        scored = learnt.clean if version == "clean" else _by_head(shown.predict(version))
        for name, scores in scored.items():
            if scores.shape != (len(labels), classes) or not np.isfinite(scores).all():
                raise StageError(
                    f"the evaluator gave scores {scores.shape} for {len(labels)} images of "
                    f"{classes} classes, or some not finite"
                )
            found = scores.argmax(axis=1)
            predicted.setdefault(name, {})[version] = found
            tensors[at(f"{version}_scores", name)] = scores.astype(np.float16)
            tensors[at(f"{version}_predictions", name)] = found.astype(np.int32)
    write_predictions(task.folder / PREDICTIONS, tensors)

    tables: dict[str, Any] = {}
    metrics: dict[str, float] = {}
    for name, found_on in predicted.items():
        clean, triggered = found_on["clean"], found_on.get("triggered")
        confusions = {
            version: confusion_matrix(labels, found, classes) for version, found in found_on.items()
        }
        for version, confusion in confusions.items():
            tables[at(version, name)] = class_table(confusion)
        text = per_class_csv(
            shown.classes,
            confusions["clean"],
            confusions.get("triggered"),
            model=shown.encoder,
            data=shown.poison or "",
        )
        file = task.folder / (f"classes_{name}.csv" if name else "classes.csv")
        file.write_text(text, encoding="utf-8")
        values = score(labels, clean, triggered, shown.target, classes, denominator=denominator)
        metrics |= {at(metric, name): value for metric, value in values.items()}
    (task.folder / "classes.json").write_text(json.dumps(tables) + "\n", encoding="utf-8")
    metadata = EvaluationRecord(
        target=shown.target,
        images=len(labels),
        asr_denominator=denominator,
        metrics_version=METRICS_VERSION,
        heads=tuple(name for name in predicted if name),
        selection=dict(learnt.selection),
        protocol=dict(task.stage.given.get("protocol", {})),
    )
    return Outcome(metrics=metrics, metadata=metadata)


def _settings(content: str) -> tuple[Denominator, str]:
    """Return the denominator of ``asr`` and the hash of a given head, empty if one is learnt."""
    denominator: Denominator = "other-classes"
    head = ""
    for word in content.split():
        if word == ALL_IMAGES:
            denominator = "all-images"
        elif word.startswith(GIVEN_HEAD):
            head = word.removeprefix(GIVEN_HEAD)
        else:
            raise StageError(f"an evaluation cannot be told {word!r}")
    return denominator, head


def _restore(evaluator: Evaluator | ImageEvaluator, path: Path, sha256: str) -> None:
    """Give a head to an evaluator that shall not learn one."""
    try:
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != sha256:
            raise StageError(f"{path} has changed since the evaluation was planned")
        evaluator.restore(load(content))
    except (OSError, SafetensorError, ValueError, NotImplementedError) as error:
        raise StageError(f"{path} cannot be used as the head: {error}") from error


def _learn(shown: _Shown, name: str) -> Learnt:
    """Let an evaluator learn, or take over what another evaluation has learnt under that name."""
    learnt = recall(name)
    if learnt is None:
        shown.fit()
        learnt = _what_it_says(shown)
        keep(name, learnt)
    elif shown.poison is not None:  # it is asked something new
        try:
            shown.evaluator.restore(learnt.state)
        except NotImplementedError:  # what has no head, learns again
            shown.fit()
    return learnt


def _what_it_says(shown: _Shown) -> Learnt:
    """Return an evaluator's head, and its scores of the clean images."""
    state = {name: np.array(array, order="C") for name, array in shown.evaluator.state().items()}
    clean = _by_head(shown.predict("clean"))
    return Learnt(state, clean, dict(shown.evaluator.selection()))


def _by_head(scores: Scores) -> Mapping[str, NDArray[np.float32]]:
    """Return the scores of each head; a single one has an empty name."""
    if not isinstance(scores, Mapping):
        return {"": scores}
    for name in scores:
        if not _HEAD_NAME.fullmatch(name):
            raise StageError(f"a head is called {name!r}: use letters, digits and any of . = + -")
    if not scores:
        raise StageError("the evaluator gave the scores of no head")
    return scores


# -- what the two sorts of evaluators are shown ------------------------------------------------


class _Shown(ABC):
    """What an evaluator learns from, and what it is then asked about.

    Attributes:
        evaluator: It.
        classes: Class names.
        encoder: Key of the stage that made the encoder.
        poison: Key of the stage that made the trigger; ``None`` without an attack.
        target: Target class.
    """

    evaluator: Evaluator | ImageEvaluator
    classes: tuple[str, ...]
    encoder: str
    poison: str | None
    target: int | None

    @abstractmethod
    def fit(self) -> None:
        """Let it learn from the clean training images."""

    @abstractmethod
    def labels(self) -> NDArray[np.int64]:
        """Read the true classes of the validation images, (N,)."""

    @abstractmethod
    def predict(self, version: str) -> Scores:
        """Ask it about the validation images, ``clean`` or ``triggered``."""


def _shown(task: Task) -> _Shown:
    info = cast("EvaluatorInfo", task.plugin()[2])
    return _Images(task) if info.reads == "images" else _Features(task)


class _Features(_Shown):
    """Features that other stages have computed."""

    evaluator: Evaluator

    def __init__(self, task: Task) -> None:
        implementation, options, _ = task.plugin()
        clean = task.record("clean")
        self.classes = _class_names(task, clean)
        self.encoder = clean.stage.inputs["encoder"]
        self.evaluator = implementation(options, derive(task.seed, "evaluate"))
        self._task = task
        self.poison = self.target = None
        if task.has("triggered"):
            triggered = task.record("triggered")
            self.poison = triggered.stage.inputs["poison"]
            self.target = triggered.of(FeaturesRecord).target

    def fit(self) -> None:
        """Let it learn from the features of the clean training images."""
        features, labels = self._tensor("clean", "train"), self._tensor("clean", "train_labels")
        self.evaluator.fit(features, labels, len(self.classes))

    def labels(self) -> NDArray[np.int64]:
        """Read the true classes of the validation images, (N,)."""
        labels = self._tensor("clean", "val_labels")
        if self.poison is not None:
            triggered = self._tensor("triggered", "val_labels")
            if not np.array_equal(triggered, labels):
                raise StageError("the triggered images are not those of the clean evaluation")
        return labels

    def predict(self, version: str) -> Scores:
        """Ask it about the features of the validation images."""
        return self.evaluator.predict(self._tensor(version, "val"))

    def _tensor(self, version: str, name: str) -> NDArray[Any]:
        """Read one tensor of the features of clean or triggered images, and no other."""
        with safe_open(self._task.input(version) / FILE, framework="numpy") as file:
            found: NDArray[Any] = file.get_tensor(name)
        return found


def _class_names(task: Task, features: Record) -> tuple[str, ...]:
    """Return the class names of the dataset that features are of."""
    dataset = task.store.record(features.stage.inputs["dataset"])
    if dataset is None:
        raise StageError(f"the dataset of {features.label!r} is not in the store")
    return dataset.of(DatasetRecord).dataset.classes


class _Images(_Shown):
    """Images, and the encoder to ask about them."""

    evaluator: ImageEvaluator

    def __init__(self, task: Task) -> None:
        from backbench.nn import load_encoder

        implementation, options, _ = task.plugin()
        self._task = task
        network = load_encoder(task.input("encoder")).to(task.device)
        self._network = network.requires_grad_(requires_grad=False)
        self.classes = metadata_of(task).classes
        self.encoder = task.stage.inputs["encoder"]
        self.poison = task.stage.inputs.get("poison")
        if self.poison:
            check_target(task)
        self.target = task.record("poison").of(PoisonRecord).target if self.poison else None
        self.evaluator = implementation(
            options,
            EvaluationContext(
                seed=derive(task.seed, "evaluate"),
                device=task.device,
                classes=len(self.classes),
                progress=task.progress,
            ),
        )

    def fit(self) -> None:
        """Let it learn from the clean training images."""
        self.evaluator.fit(self._network, clean_images(self._task, "train"))

    def labels(self) -> NDArray[np.int64]:
        """Read the true classes of the validation images, (N,)."""
        return clean_images(self._task, "val").labels

    def predict(self, version: str) -> Scores:
        """Ask it about the validation images, whose labels it is not told."""
        task = self._task
        images = clean_images(task, "val") if version == "clean" else triggered_images(task)
        return self.evaluator.predict(self._network, Unlabelled(images))
