"""Evaluators of both kinds and their input: features, or images and an encoder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import load_file

from backbench.errors import ResultError, StageError
from backbench.images import Unlabelled, read_only
from backbench.plugin import EvaluationContext, Evaluator, EvaluatorInfo, ImageEvaluator, Scores
from backbench.seeds import derive
from backbench.stages.checks import checked_target
from backbench.stages.features import FILE
from backbench.stages.inputs import INDEX, Inputs
from backbench.stages.task import Task
from backbench.store.index import Names
from backbench.store.metadata import DatasetRecord, FeaturesRecord
from backbench.store.records import Record

if TYPE_CHECKING:
    from backbench.nn import Encoder

#: File of a fitted classifier.
CLASSIFIER = "classifier.safetensors"


def encoder_of(record: Record) -> dict[str, str]:
    """Return the label of the stage that made an encoder, and the SHA-256 of its weights."""
    weights = next(said for name, said in record.files.items() if name.endswith(".safetensors"))
    return {"label": record.label, "sha256": weights["sha256"]}


class Evaluation(ABC):
    """An evaluator, and what it is fitted on and predicts from.

    Each method reads what it needs and nothing else: :meth:`fit` reads clean training images or
    their features.

    Attributes:
        classes: Class names.
        encoder: Key of the stage that made the encoder.
        poison: Key of the stage that made the trigger; ``None`` without an attack.
        target: Target class; ``None`` for an untargeted attack or none.
    """

    evaluator: Evaluator | ImageEvaluator
    classes: tuple[str, ...]
    encoder: str
    poison: str | None
    target: int | None

    @abstractmethod
    def fit(self) -> None:
        """Fit the evaluator on the clean training images."""

    @abstractmethod
    def labels(self) -> NDArray[np.int64]:
        """Read the true classes of the validation images, (M,)."""

    @abstractmethod
    def predict(self, version: str) -> Scores:
        """Score the validation images, ``clean`` or ``triggered``."""


def evaluation_of(task: Task) -> Evaluation:
    """Return the evaluation that a fit or predict stage is part of."""
    info = cast("EvaluatorInfo", task.plugin()[2])
    return _OfImages(task) if info.reads == "images" else _OfFeatures(task)


class _OfFeatures(Evaluation):
    """An evaluator that reads the features of other stages."""

    evaluator: Evaluator

    def __init__(self, task: Task) -> None:
        implementation, options, _ = task.plugin()
        clean = task.record("clean")
        dataset = task.store.record(clean.stage.inputs["dataset"])
        if dataset is None:
            raise StageError(f"the dataset of {clean.label!r} is not in the store")
        self.classes = dataset.of(DatasetRecord).dataset.classes
        self.encoder = clean.stage.inputs["encoder"]
        self.evaluator = implementation(options, derive(task.seed, "evaluate"))
        self._task = task
        self.poison = self.target = None
        if task.has("triggered"):
            triggered = task.record("triggered")
            self.poison = triggered.stage.inputs["poison"]
            self.target = triggered.of(FeaturesRecord).target

    def fit(self) -> None:
        features, labels = self._tensor("clean", "train"), self._tensor("clean", "train_labels")
        dataset = self._task.record("clean").stage.inputs["dataset"]
        self.evaluator.sources = Names(self._task.store.artifact(dataset) / INDEX, "train")
        self.evaluator.fit(features, labels, len(self.classes))

    def labels(self) -> NDArray[np.int64]:
        labels = self._tensor("clean", "val_labels")
        if self.poison is not None:
            triggered = self._tensor("triggered", "val_labels")
            if not np.array_equal(triggered, labels):
                raise StageError("the triggered images are not those of the clean evaluation")
        return labels

    def predict(self, version: str) -> Scores:
        return self.evaluator.predict(self._tensor(version, "val"))

    def _tensor(self, version: str, name: str) -> NDArray[Any]:
        """Read one tensor of the features of clean or triggered images, and no other."""
        with safe_open(self._task.input(version) / FILE, framework="numpy") as file:
            return read_only(file.get_tensor(name))


class _OfImages(Evaluation):
    """An evaluator that reads images through an encoder."""

    evaluator: ImageEvaluator

    def __init__(self, task: Task) -> None:
        from backbench.nn import load_encoder

        implementation, options, _ = task.plugin()
        self._inputs = Inputs(task)
        network = load_encoder(task.input("encoder")).to(task.device)
        self._network = network.requires_grad_(requires_grad=False)
        self.classes = self._inputs.metadata.classes
        self.encoder = task.stage.inputs["encoder"]
        self.poison = task.stage.inputs.get("poison")
        self.target = checked_target(self._inputs)
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
        with unchanged(self._network, "the evaluator"):
            self.evaluator.fit(self._network, self._inputs.train)

    def labels(self) -> NDArray[np.int64]:
        return self._inputs.val.labels

    def predict(self, version: str) -> Scores:
        images = self._inputs.val if version == "clean" else self._inputs.triggered
        with unchanged(self._network, "the evaluator"):
            return self.evaluator.predict(self._network, Unlabelled(images))


def restored(task: Task, evaluation: Evaluation) -> bool:
    """Restore the classifier of the fit stage; return ``False`` if the evaluator stores none.

    Raises:
        StageError: If it is not such a classifier's.
    """
    path = task.input("fit") / CLASSIFIER
    if not path.is_file():
        return False
    try:
        evaluation.evaluator.restore(load_file(path))
    except (ValueError, NotImplementedError) as error:
        raise StageError(f"{task.record('fit').label} cannot be used: {error}") from error
    return True


@contextmanager
def unchanged(encoder: Encoder, who: str) -> Iterator[None]:
    """Stop if an encoder, whose tensors cannot be read-only, is not what it was.

    Args:
        encoder: The encoder.
        who: The plugin that it is lent to, for the error.

    Raises:
        ResultError: If it was changed: clean and triggered images would meet different encoders.
    """
    import torch

    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    yield
    after = encoder.state_dict()
    changed = [name for name, one in before.items() if not torch.equal(one, after[name])]
    if changed or encoder.training:
        what = f"{len(changed)} tensors ({changed[0]}, …)" if changed else "the mode"
        raise ResultError(f"{who} changed {what} of the encoder: it must work on a copy")
