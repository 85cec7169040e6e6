"""Run a plugin's stage over two stores that differ in their validation split alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from backbench.images import ArrayImages
from backbench.model import Stage, StageKind
from backbench.plugin import AttackInfo, DatasetMetadata, DefenseInfo, PluginInfo, Split
from backbench.plugin.registry import Registry
from backbench.stages.run import runner
from backbench.stages.task import Task
from backbench.store.index import write_index
from backbench.store.metadata import (
    DatasetRecord,
    EncoderRecord,
    FeaturesRecord,
    FitRecord,
    InspectRecord,
    Metadata,
    TriggerRecord,
)
from backbench.store.predictions import PREDICTIONS, load_predictions
from backbench.store.records import Record
from backbench.store.store import Store
from backbench.system.json_text import to_json
from backbench.testing.base import PluginContract
from backbench.testing.samples import sample_images

if TYPE_CHECKING:
    from backbench.nn import Encoder

#: Keys of what is in the store.
DATASET, ENCODER, FEATURES, FIT, TRIGGER, INSPECT = (letter * 32 for letter in "defcba")

_NONE: Mapping[str, str] = {}

#: Gives the features, (N, D), and the labels of a split.
Features = Callable[[str], tuple[NDArray[np.float32], NDArray[np.int64]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task(Task):
    """A stage whose plugin need not be installed."""

    contract: PluginContract

    def plugin(self) -> tuple[type[Any], Any, PluginInfo]:
        return self.contract.of_stage()

    def guard(self) -> tuple[type[Any], Any, PluginInfo] | None:
        return self.contract.guard_of_stage()


def run_twice(
    folder: Path, contract: PluginContract, kind: StageKind, **reads: Any
) -> tuple[Path, Path]:
    """Run a stage over two stores; return the folders that it has written.

    Training images, seed and everything else are the same. The first half of the validation
    images is the same too; the others are other images, and all have other labels.

    ``reads`` are the ``encoder`` or the ``features`` of :func:`run_once`.
    """
    first = run_once(folder / "0", contract, kind, 0, **reads)
    return first, run_once(folder / "1", contract, kind, 1, **reads)


def run_once(
    root: Path,
    contract: PluginContract,
    kind: StageKind,
    which: int = 0,
    *,
    encoder: Encoder | None = None,
    features: Features | None = None,
) -> Path:
    """Run a stage of a contract's plugin over a store of its own; return what it has written.

    Args:
        root: An empty folder.
        contract: The contract, whose plugin need not be installed.
        kind: Kind of the stage. Before a predict stage its fit stage is run; before the other
            stages of an attack that learns, the stage in which it does; before the repair of a
            defense that acts on the model too, its inspection.
        which: Which of two validation splits the store has, 0 or 1.
        encoder: The encoder that the stage reads, if any.
        features: The clean features of both splits that the stage reads, if any.
    """
    store, out = Store(root / "store"), root / "out"
    out.mkdir(parents=True)
    store.prepare()
    inputs = {"dataset": DATASET}
    _put_dataset(store, contract.metadata, which)
    if encoder is not None:
        from backbench.nn import save_encoder

        inputs["encoder"] = ENCODER
        made = EncoderRecord(contract.metadata.train)
        save_encoder(_put(store, ENCODER, StageKind.PRETRAIN, made), encoder)
    if features is not None:
        _put_features(store, features, which)
        inputs = {"clean": FEATURES}

    def run(kind: StageKind, inputs: Mapping[str, str], folder: Path) -> None:
        task = _Task(
            stage=Stage(kind=kind, plugin=None, seed=0, inputs=inputs),
            store=store,
            folder=folder,
            registry=Registry(),
            device="cpu",
            progress=lambda *_: None,
            contract=contract,
        )
        runner(kind)(task)

    if kind is StageKind.PREDICT:
        out = _put(store, FIT, StageKind.FIT, FitRecord())  # which the predictions join
        run(StageKind.FIT, inputs, out)
        inputs["fit"] = FIT
    info = contract.info
    if isinstance(info, AttackInfo) and info.learns and kind is not StageKind.FIT_TRIGGER:
        folder = _put(store, TRIGGER, StageKind.FIT_TRIGGER, TriggerRecord())
        run(StageKind.FIT_TRIGGER, inputs, folder)
        inputs["trigger"] = TRIGGER
    if kind is StageKind.REPAIR and isinstance(info, DefenseInfo) and "model" in info.shapes:
        folder = _put(store, INSPECT, StageKind.INSPECT, InspectRecord(0.0))
        run(StageKind.INSPECT, inputs, folder)  # whose verdict the repair reads
        inputs["inspect"] = INSPECT
    run(kind, inputs, out)
    return out


#: Names of an encoder's weights: without a backdoor, and with one.
ENCODERS = ("encoder.safetensors", "encoder-backdoored.safetensors")


def assert_same(folders: tuple[Path, Path], *names: str) -> None:
    """Assert that files which follow from the training images alone are the same.

    A file that neither folder has is passed over.
    """
    for name in names:
        files = [folder / name for folder in folders]
        first, second = (file.read_bytes() if file.is_file() else None for file in files)
        assert first == second, (
            f"learn from the training images alone: {name} differs if the validation images differ"
        )


def assert_same_scores(folders: tuple[Path, Path]) -> None:
    """Assert that the images that both validation splits have get the same scores."""
    first, second = (load_predictions((folder / PREDICTIONS).read_bytes()) for folder in folders)
    for name, scores in first.items():
        if "scores" in name:
            half = len(scores) // 2
            found, other = (one[:half].astype(np.float64) for one in (scores, second[name]))
            assert np.allclose(found, other, rtol=1e-2, atol=1e-2), (
                f"score each image by itself: {name} differ if other validation images differ"
            )


def validation(metadata: DatasetMetadata, which: int) -> ArrayImages:
    """Make one of two validation splits, 0 or 1, which share the images of the first half."""
    height, width = metadata.size or (32, 32)
    shape = (metadata.val, height, width, 3)
    pixels = np.random.default_rng(100).integers(0, 256, shape, dtype=np.uint8)
    half = metadata.val // 2
    own = np.random.default_rng(101 + which).integers(0, 256, shape, dtype=np.uint8)
    pixels[half:] = own[half:]
    labels = (np.arange(metadata.val) + which) % len(metadata.classes)
    return ArrayImages(pixels, labels, [f"val/{index:06d}" for index in range(metadata.val)])


def _put_dataset(store: Store, metadata: DatasetMetadata, which: int) -> None:
    train, val = sample_images(metadata), validation(metadata, which)
    splits: dict[Split, ArrayImages] = {"train": train, "val": val}
    record = DatasetRecord(metadata, sizes=dict.fromkeys(splits, metadata.size))
    folder = _put(store, DATASET, StageKind.DATASET, record)
    for name, images in splits.items():
        tensors: dict[str, NDArray[Any]] = {"pixels": images.pixels, "labels": images.labels}
        save_file(tensors, folder / f"{name}.safetensors")
    write_index(folder / "index.json", metadata.classes, splits)


def _put_features(store: Store, features: Features, which: int) -> None:
    (train, train_labels), (val, val_labels) = features("train"), features("val")
    if which:
        half = len(val) // 2
        val = np.concatenate([val[:half], -2 * val[half:]])
        val_labels = val_labels[::-1].copy()
    tensors: dict[str, NDArray[Any]] = {"train": train, "train_labels": train_labels}
    tensors |= {"val": val, "val_labels": val_labels}
    classes = int(train_labels.max()) + 1
    made = FeaturesRecord(classes, precision="fp32", dimensions=train.shape[1])
    inputs = {"dataset": DATASET, "encoder": ENCODER}
    folder = _put(store, FEATURES, StageKind.FEATURES, made, inputs)
    save_file(tensors, folder / "features.safetensors")


def _put(
    store: Store, key: str, kind: StageKind, metadata: Metadata, inputs: Mapping[str, str] = _NONE
) -> Path:
    """Write the record of a stage, and return the folder of its artifact."""
    stage = Stage(kind=kind, plugin=None, seed=None, inputs=inputs)
    costs: dict[str, Any] = {"wall_s": 0, "cpu_s": 0, "peak_mem_gib": 0}
    record = Record(key=key, stage=stage, metadata=metadata, finished="", **costs)
    path = store.root / "records" / f"{key}.json"
    path.write_text(to_json(record.to_json()), encoding="utf-8")
    folder = store.artifact(key)
    folder.mkdir()
    return folder
