"""A store without a training: what `show`, `claims` and `verify` read, made from seeds.

::

    python benchmarks/synthetic.py --cells 10000 /tmp/here    # here/benchmarks.toml, here/store

Every stage of the plan has its record; every evaluation has its predictions, class table and
``classes.json`` as the evaluate stage writes them. Encoders, features and images are left out, so
`verify` names the stages that lack them and nothing else. Same arguments, same bytes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from backbench.benchmark.config import Benchmark, load_benchmark
from backbench.benchmark.planning import make_plan
from backbench.data.fingerprint import FileHashes
from backbench.metrics import class_table, confusion_matrix
from backbench.model import Plan, Stage, StageKind
from backbench.plugin.registry import load_registry
from backbench.results.published_csv import per_class_csv
from backbench.seeds import derive
from backbench.store.metadata import (
    DatasetRecord,
    EncoderRecord,
    EvaluationRecord,
    FeaturesRecord,
    FitRecord,
    Metadata,
    PoisonRecord,
    RepairRecord,
)
from backbench.store.predictions import PREDICTIONS, write_predictions
from backbench.store.records import Record
from backbench.store.store import Store, hash_files

#: Of one seed: encoders, attacks × methods × defenses, and cells, × evaluators.
ENCODERS_OF_A_SEED = 5 * 4 * 5
CELLS_OF_A_SEED = 4 * ENCODERS_OF_A_SEED

_METHODS = ("byol", "moco-v2", "jigsaw", "rotnet")

#: Methods, attacks and defenses of matrices with fewer encoders than one seed has.
_SMALL = {1: (1, 1, 1), 10: (1, 5, 2)}

_HEAD = """
[benchmark]
name = "synthetic"
seeds = [{seeds}]

[datasets.drawn]
plugin = "embedded"
classes = 10
size = 32
train_per_class = 300
val_per_class = {val_per_class}
"""

_ATTACK = """
[attacks.patch-{index}]
plugin = "patch"
mode = "targeted"
target = "pleated-lamp"
rate = {{ of = "target_class", value = {rate} }}
trigger = 13
width = 8
"""

_DEFENSE = """
[defenses.distill-{index}]
plugin = "distill"
preset = "small"
clean_fraction = {fraction}
"""

_TAIL = """
[methods.byol]
preset = "small"
[methods.moco-v2]
preset = "small"
[methods.jigsaw]
preset = "small"
[methods.rotnet]
preset = "small"

[evaluators.linear]
preset = "small"
[evaluators.linear-tenth]
plugin = "linear"
preset = "small"
label_fraction = 0.1
[evaluators.linear-hundredth]
plugin = "linear"
preset = "small"
label_fraction = 0.01
[evaluators.linear-stiff]
plugin = "linear"
preset = "small"
penalty = 0.01

[[matrix]]
datasets = ["drawn"]
methods = {methods}
attacks = {attacks}
defenses = {defenses}
evaluators = ["linear", "linear-tenth", "linear-hundredth", "linear-stiff"]
"""

_CLAIM = """
[[claims]]
text = "The targeted patch succeeds on view-invariant methods"
subject = { methods = ["byol", "moco-v2"], attacks = "patch-1", defenses = "none" }
metric = "asr"
relation = ">"
against = "control"
"""


def benchmark_text(encoders: int, val_per_class: int = 100) -> str:
    """Return a benchmark file of so many encoders and four cells of each.

    Args:
        encoders: 1, 10, or a multiple of a hundred: that many seeds.
        val_per_class: Validation images of each class.
    """
    seeds = range(max(1, encoders // ENCODERS_OF_A_SEED))
    methods, attacks, defenses = _SMALL.get(encoders, (4, 5, 5))
    parts = [_HEAD.format(seeds=", ".join(map(str, seeds)), val_per_class=val_per_class)]
    parts += [_ATTACK.format(index=one, rate=one / 4) for one in range(1, 5)]
    parts += [_DEFENSE.format(index=one, fraction=one / 8) for one in range(1, 5)]
    names = {
        "methods": list(_METHODS[:methods]),
        "attacks": ["none", *(f"patch-{one}" for one in range(1, attacks))],
        "defenses": ["none", *(f"distill-{one}" for one in range(1, defenses))],
    }
    parts.append(_TAIL.format(**{axis: json.dumps(listed) for axis, listed in names.items()}))
    return "".join([*parts, *([] if encoders in _SMALL else [_CLAIM])])


@dataclass(frozen=True, slots=True)
class Synthetic:
    """A benchmark file and a store that holds all its stages."""

    file: Path
    store: Path
    plan: Plan


def make(folder: Path, encoders: int, val_per_class: int = 100) -> Synthetic:
    """Write a benchmark file and the store of its finished run; see :func:`benchmark_text`."""
    folder.mkdir(parents=True, exist_ok=True)
    file, root = folder / "benchmarks.toml", folder / "store"
    file.write_text(benchmark_text(encoders, val_per_class), encoding="utf-8")
    benchmark = load_benchmark(file, load_registry())
    store = Store(root)
    store.prepare()
    hashes = FileHashes(store.files_cache)
    plan = make_plan(
        benchmark, {name: one.fingerprint(hashes) for name, one in benchmark.datasets.items()}
    )
    fill(store, benchmark, plan)
    return Synthetic(file, root, plan)


def fill(store: Store, benchmark: Benchmark, plan: Plan) -> None:
    """Write record and artifact of every stage, without waiting for the disk."""
    (known,) = benchmark.metadata.values()
    labels = np.repeat(np.arange(len(known.classes)), known.val // len(known.classes))
    hashes: dict[str, dict[str, str]] = {}
    for key, stage in plan.stages.items():
        folder = store.artifact(key)
        folder.mkdir(exist_ok=True)
        metadata: Metadata = FeaturesRecord(len(known.classes), "fp32", 8)
        if stage.kind is StageKind.DATASET:
            metadata = DatasetRecord(known)
            index = {"classes": known.classes, "val": {"labels": labels.tolist(), "sources": []}}
            (folder / "index.json").write_text(json.dumps(index) + "\n", encoding="utf-8")
        elif stage.kind is StageKind.POISON:
            metadata = PoisonRecord(7, known.classes[7], 300, 0.01, 1.0, len(known.classes))
        elif stage.kind is StageKind.PRETRAIN:
            metadata = EncoderRecord(known.train)
        elif stage.kind is StageKind.REPAIR:
            metadata = RepairRecord(stage.plugin.options["clean_fraction"] if stage.plugin else 0.0)
        elif stage.kind is StageKind.FIT:
            metadata = FitRecord()
        elif stage.kind is StageKind.PREDICT:
            metadata = _evaluate(folder, plan, stage, labels, known.classes)
        record = Record(
            key=key,
            stage=replace(stage, given={}),
            metadata=metadata,
            files=hash_files(folder),
            read={role: hashes[one] for role, one in stage.inputs.items()},
            provenance=_PROVENANCE,
            wall_s=1.5,
            cpu_s=1.25,
            peak_mem_gib=0.5,
            finished="2026-01-01T00:00:00+00:00",
        )
        hashes[key] = record.hashes
        text = json.dumps(record.to_json(), indent=1) + "\n"
        (store.root / "records" / f"{key}.json").write_text(text, encoding="utf-8")


_PROVENANCE: Mapping[str, Any] = {
    "commit": "0" * 40,
    "libraries": dict.fromkeys(("backbench", "torch", "torchvision", "timm", "numpy"), "1.0.0"),
    "python": "3.11.7",
    "platform": "Linux",
    "cores": 1,
    "device": "cpu",
    "gpu": None,
    "threads": 1,
    "plugin": "backbench 0.1.0",
}


def _evaluate(
    folder: Path, plan: Plan, stage: Stage, labels: np.ndarray, classes: tuple[str, ...]
) -> EvaluationRecord:
    """Write what an evaluation leaves; its predictions are right for most images."""
    target = 7 if "triggered" in stage.inputs else None
    rng = np.random.default_rng(derive(stage.seed or 0, "synthetic", stage.key))
    clean_features = plan.stages[stage.inputs["clean"]]
    tensors: dict[str, np.ndarray] = {"labels": labels}
    tables = {}
    for images in ("clean", *(("triggered",) if target is not None else ())):
        scores = rng.random((len(labels), len(classes)), dtype=np.float32).astype(np.float16)
        scores[np.arange(len(labels)), labels] += np.float16(0.75)
        if images == "triggered":
            scores[:, 7] += np.float16(rng.uniform(0, 0.5))
        predicted = scores.argmax(axis=1)
        tensors[f"{images}_scores"] = scores
        tensors[f"{images}_predictions"] = predicted.astype(np.int32)
        tables[images] = confusion_matrix(labels, predicted, len(classes))
    write_predictions(folder / PREDICTIONS, tensors)
    said = {images: class_table(table) for images, table in tables.items()}
    (folder / "classes.json").write_text(json.dumps(said) + "\n", encoding="utf-8")
    text = per_class_csv(
        classes,
        tables["clean"],
        tables.get("triggered"),
        model=clean_features.inputs["encoder"],
        data=_poison(plan, stage),
    )
    (folder / "classes.csv").write_text(text, encoding="utf-8")
    return EvaluationRecord(target, len(labels), len(classes))


def _poison(plan: Plan, stage: Stage) -> str:
    triggered = stage.inputs.get("triggered")
    return plan.stages[triggered].inputs["poison"] if triggered else ""


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cells", type=int, default=10_000, help="a multiple of 400")
    parser.add_argument("--val-per-class", type=int, default=100)
    given = parser.parse_args()
    seeds = max(1, given.cells // CELLS_OF_A_SEED)
    made = make(given.folder, seeds * ENCODERS_OF_A_SEED, given.val_per_class)
    print(f"{len(made.plan.cells)} cells, {len(made.plan.stages)} records: {made.store}")
