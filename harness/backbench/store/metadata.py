"""Metadata of artifacts: a small record for each kind of stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from backbench.model import FROM_JSON, StageKind
from backbench.options.base import DatasetMetadata

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Metadata:
    """Base of what the stages report."""

    __pydantic_config__ = FROM_JSON

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class DatasetRecord(Metadata):
    """Metadata of a dataset.

    Args:
        dataset: Classes, numbers and size of the images.
        sizes: Height and width that a split's images share; ``None`` where they differ.
        decoded: Bytes of the decoded images, by split; ``None`` where none are kept.
        cache: The option ``cache`` of the dataset: a word, a side in pixels, ``None`` without it.
    """

    dataset: DatasetMetadata
    sizes: Mapping[str, tuple[int, int] | None] = field(default_factory=dict)
    decoded: Mapping[str, int | None] = field(default_factory=dict)
    cache: str | int | None = None


@dataclass(frozen=True, slots=True)
class PoisonRecord(Metadata):
    """Metadata of a poison.

    Args:
        target: Target class; ``None`` for an untargeted attack.
        target_name: Its name.
        poisons: Number of poisoned training images.
        rate_of_dataset: Their share of the images of the poisoned training set.
        rate_of_target_class: Share of the target class's training images that are poisoned;
            ``None`` where there are none. An added poison has no class.
        classes: Number of classes.
        added: Number of the poisons that were added; the others replace training images.
        threat: What the attack requested: ``labels``, the sets whose labels it read; ``sets``,
            the number of images of each further set; ``features``, true if it has seen features of
            a clean encoder.
    """

    target: int | None
    target_name: str | None
    poisons: int
    rate_of_dataset: float
    rate_of_target_class: float | None
    classes: int
    added: int = 0
    threat: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        target: int | None,
        classes: tuple[str, ...],
        chosen: NDArray[np.int64],
        labels: NDArray[np.int64],
        threat: Mapping[str, Any] | None = None,
    ) -> PoisonRecord:
        """Count a poison under each of the usual meanings of its rate.

        Args:
            target: Index of the target class.
            classes: The names of the classes.
            chosen: Indices of the poisons in the poisoned training set, (M,); those from N on are
                added.
            labels: Classes of the clean training images, (N,).
            threat: What the attack requested.
        """
        added = int((chosen >= len(labels)).sum())
        replaced = chosen[chosen < len(labels)]
        of_target = int((labels[replaced] == target).sum())
        in_target = int((labels == target).sum())
        return cls(
            target=None if target is None else int(target),
            target_name=None if target is None else classes[target],
            poisons=len(chosen),
            rate_of_dataset=len(chosen) / (len(labels) + added),
            rate_of_target_class=of_target / in_target if in_target else None,
            classes=len(classes),
            added=added,
            threat=threat or {},
        )


@dataclass(frozen=True, slots=True)
class EncoderRecord(Metadata):
    """Metadata of a trained encoder.

    Args:
        images: Number of training images.
        last: The last entry of the training log.
        arithmetic: Precision and switches of the training.
        clean_fraction: Share of the training set that a defense of the training requested as clean.
    """

    images: int
    last: Mapping[str, float] = field(default_factory=dict)
    arithmetic: Mapping[str, Any] = field(default_factory=dict)
    clean_fraction: float = 0.0


@dataclass(frozen=True, slots=True)
class ImportRecord(Metadata):
    """Metadata of an external encoder.

    Args:
        source: Name of its file.
        sha256: SHA-256 of the file.
        layout: How the file is laid out.
        taken: Number of tensors that became weights.
        left: What was passed over, and how many tensors each.
    """

    source: str
    sha256: str
    layout: str
    taken: int
    left: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ThreatModel(Metadata):
    """The parts of its context that an attack requested.

    Args:
        shadow_fraction: Share of the training images that it requested, without labels.
        references: Number of images of the target class that it requested.
    """

    shadow_fraction: float = 0.0
    references: int = 0


@dataclass(frozen=True, slots=True)
class TriggerRecord(ThreatModel):
    """Metadata of a learned trigger: the threat model of its attack."""


@dataclass(frozen=True, slots=True)
class ImplantRecord(ThreatModel):
    """Metadata of an encoder with a backdoor: the threat model of its attack."""


@dataclass(frozen=True, slots=True)
class SanitizeRecord(Metadata):
    """Metadata of a sanitized training set.

    Args:
        images: Number of training images.
        dropped: Number of images that the defense dropped.
        clean_fraction: Share of the training set that the defense requested as clean.
        detection: What its scores come to against the manifest of the poison, by name.
    """

    images: int
    dropped: int
    clean_fraction: float = 0.0
    detection: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class InspectRecord(Metadata):
    """Metadata of a verdict on an encoder.

    Args:
        score: Above 0: the encoder has a backdoor, by the threshold of the method.
        numbers: What the defense states besides, by name.
        clean_fraction: Share of the training set that the defense requested as clean.
    """

    score: float
    numbers: Mapping[str, float] = field(default_factory=dict)
    clean_fraction: float = 0.0


@dataclass(frozen=True, slots=True)
class RepairRecord(Metadata):
    """Metadata of a repaired encoder.

    Args:
        clean_fraction: Share of the training set that the defense requested as clean.
        arithmetic: Precision and switches of its training; empty where it does not train.
    """

    clean_fraction: float = 0.0
    arithmetic: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FitDetectorRecord(Metadata):
    """Metadata of a fitted detector.

    Args:
        clean_fraction: Share of the training set that it requested as clean.
        arithmetic: Precision and switches of its training; empty where the harness does not train
            it.
    """

    clean_fraction: float = 0.0
    arithmetic: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DetectRecord(Metadata):
    """Metadata of a detector's scores.

    Args:
        clean: Number of clean validation images that were scored.
        triggered: Number of triggered validation images that were scored.
        rejected: Number of images, clean or triggered, whose score is above 0.
        clean_fraction: Share of the training set that the detector requested as clean.
    """

    clean: int
    triggered: int
    rejected: int
    clean_fraction: float = 0.0


@dataclass(frozen=True, slots=True)
class FeaturesRecord(Metadata):
    """Metadata of features.

    Args:
        classes: Number of classes.
        precision: Of the encoder's arithmetic.
        dimensions: Length of a feature vector.
        target: Target class of the trigger; ``None`` without.
    """

    classes: int
    precision: str
    dimensions: int
    target: int | None = None


@dataclass(frozen=True, slots=True)
class FitRecord(Metadata):
    """Metadata of a fitted classifier.

    Args:
        selection: What the evaluator selected on training images.
        source: Name of the file of an imported classifier; empty where one was fitted.
        fitted_on: Label and SHA-256 of the encoder that an imported classifier was fitted on; empty
            where that is not known.
    """

    selection: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    fitted_on: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EvaluationRecord(Metadata):
    """Metadata of an evaluation's predictions.

    Args:
        target: Target class; ``None`` for an untargeted attack or none.
        images: Number of validation images.
        classes: Number of classes.
        variants: Names of the evaluator's results; empty where it gives a single one.
        protocol: Id and hash of the protocol card, and the evaluator's name on it; empty without.
    """

    target: int | None
    images: int
    classes: int
    variants: tuple[str, ...] = ()
    protocol: Mapping[str, str] = field(default_factory=dict)


#: Record class of each kind of stage.
KINDS: Mapping[StageKind, type[Metadata]] = {
    StageKind.DATASET: DatasetRecord,
    StageKind.FIT_TRIGGER: TriggerRecord,
    StageKind.POISON: PoisonRecord,
    StageKind.PRETRAIN: EncoderRecord,
    StageKind.IMPORT: ImportRecord,
    StageKind.IMPLANT: ImplantRecord,
    StageKind.SANITIZE: SanitizeRecord,
    StageKind.INSPECT: InspectRecord,
    StageKind.REPAIR: RepairRecord,
    StageKind.FIT_DETECTOR: FitDetectorRecord,
    StageKind.DETECT: DetectRecord,
    StageKind.FEATURES: FeaturesRecord,
    StageKind.FIT: FitRecord,
    StageKind.PREDICT: EvaluationRecord,
}
