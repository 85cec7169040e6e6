"""Records, folders of images and commands for tests, with defaults for what a test does not read."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from backbench.model import NONE, Axis, Plan, Stage, StageKind
from backbench.options.base import DatasetMetadata
from backbench.results.leaderboard import LIFTS, Leaderboard, Row
from backbench.results.reader import MeasuredOf
from backbench.results.rows import build
from backbench.results.statistics import paired, sample_of, summarize_all
from backbench.store.metadata import (
    DatasetRecord,
    DetectRecord,
    EncoderRecord,
    EvaluationRecord,
    FeaturesRecord,
    FitDetectorRecord,
    FitRecord,
    ImplantRecord,
    ImportRecord,
    InspectRecord,
    Metadata,
    PoisonRecord,
    RepairRecord,
    SanitizeRecord,
    TriggerRecord,
)
from backbench.store.records import Record

#: Three classes, two training images of each.
DATASET = DatasetMetadata(("a", "b", "c"), 6, 6, (8, 8), (2, 2, 2))

METADATA: dict[StageKind, Metadata] = {
    StageKind.DATASET: DatasetRecord(DATASET, sizes={"train": None, "val": None}),
    StageKind.FIT_TRIGGER: TriggerRecord(),
    StageKind.POISON: PoisonRecord(1, "b", 2, 1 / 3, 1.0, 3),
    StageKind.PRETRAIN: EncoderRecord(6),
    StageKind.IMPORT: ImportRecord("w.pth", "0" * 64, "timm", 1),
    StageKind.IMPLANT: ImplantRecord(),
    StageKind.SANITIZE: SanitizeRecord(6, 3),
    StageKind.INSPECT: InspectRecord(0.5),
    StageKind.REPAIR: RepairRecord(),
    StageKind.FIT_DETECTOR: FitDetectorRecord(),
    StageKind.DETECT: DetectRecord(6, 6, 3),
    StageKind.FEATURES: FeaturesRecord(3, "fp32", 4),
    StageKind.FIT: FitRecord(),
    StageKind.PREDICT: EvaluationRecord(None, 6, 3),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredRecord(Record):
    """A record of an evaluation, and what its predictions would come to.

    Args:
        metrics: ``asr``, ``asr@k=1``.
    """

    metrics: Mapping[str, float] = field(default_factory=dict)


def record(
    key: str = "0" * 32, stage: Stage | StageKind = StageKind.PREDICT, **more: Any
) -> MeasuredRecord:
    """Make a record.

    Args:
        key: Its key.
        stage: The stage, or its kind.
        more: Fields of the record; without them, the usual ones of the stage's kind.
    """
    if isinstance(stage, StageKind):
        stage = Stage(stage, None, 0, label=key)
    defaults: dict[str, Any] = {"metadata": METADATA[stage.kind], "finished": ""}
    defaults |= dict.fromkeys(("wall_s", "cpu_s", "peak_mem_gib"), 0.0)
    return MeasuredRecord(key=key, stage=stage, **{**defaults, **more})


def measured_by(records: Iterable[MeasuredRecord]) -> MeasuredOf:
    """Return what gives the metrics that records were made with.

    Args:
        records: The records.
    """
    known = {one.key: one.metrics for one in records}

    def measured(key: str, variant: str) -> dict[str, float]:
        end = f"@{variant}" if variant else ""
        pairs = known[key].items()
        return {name.removesuffix(end): value for name, value in pairs if name.endswith(end)}

    return measured


def board(
    plan: Plan,
    records: Mapping[str, MeasuredRecord],
    failures: Mapping[str, Mapping[str, Any]] | None = None,
) -> Leaderboard:
    """Build the leaderboard of a plan from records that were made with metrics."""
    measured_of = measured_by(records.values())
    return build(plan, records.get, (failures or {}).get, measured_of=measured_of)


#: Names of a row by axis, where a test states no others.
USUAL = dict.fromkeys(map(str, Axis), NONE) | {
    "dataset": "drawn",
    "method": "moco",
    "attack": "patch",
    "evaluator": "knn",
}

#: Metrics, each by seed, or of the seeds from 0 on.
BySeed = Mapping[str, Mapping[int, float] | Sequence[float]]


def row(values: BySeed, controls: BySeed | None = None, **more: Any) -> Row:
    """Make a row.

    Args:
        values: Its metrics.
        controls: Those of its controls.
        more: Names by axis, and further fields; without them, the usual ones.
    """
    samples, beside = (
        {
            name: sample_of(dict(one if isinstance(one, Mapping) else enumerate(one)))
            for name, one in numbers.items()
        }
        for numbers in (values, controls or {})
    )
    lifts = {name: paired(samples[name], one) for name, one in beside.items()}
    samples |= {name: lifts[metric] for name, metric in LIFTS.items() if metric in lifts}
    seeds = tuple(sorted({seed for one in samples.values() for seed in one.seeds}))
    fields = {
        "names": {axis: more.pop(axis, usual) for axis, usual in USUAL.items()},
        "seeds": seeds,
        "planned": len(seeds),
        "samples": samples,
        "control_samples": beside,
    }
    summaries = map(summarize_all, (samples, beside, lifts))
    summarized = dict(zip(("values", "controls", "lifts"), summaries, strict=True))
    return Row(**{**fields, **summarized, **more})


#: A benchmark of images of many sizes, which :func:`make_pets` draws.
PETS = """
[datasets.pets]
plugin = "image-folder"
root = "pets"
OPTION
[attacks.patch]
target = "cat"
width = 6
rate = { of = "target_class", value = 0.5 }
[methods.rotnet]
preset = "small"
batch_size = 2
[evaluators.knn]
k = 1
[[matrix]]
datasets = "pets"
attacks = "patch"
methods = "rotnet"
evaluators = "knn"
"""


def pets(option: str = "") -> str:
    """Return the benchmark of pets, with one more line for its dataset."""
    return PETS.replace("OPTION", option)


def make_pets(folder: Path) -> None:
    """Draw cats and dogs below ``pets``: 6 training images of each, 30 to 35 pixels high, and 3
    validation images of each, 32 pixels high; all are 32 pixels wide.
    """
    rng = np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 3)):
        for name in ("cat", "dog"):
            (folder / "pets" / split / name).mkdir(parents=True)
            for number in range(count):
                side = 32 if split == "val" else 30 + number
                pixels = rng.integers(0, 256, (side, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / "pets" / split / name / f"{number}.png")


_LIGHT = """
import contextlib, io, json, sys
_, refused, commands = sys.argv
from backbench.cli.main import main
printed = []
for arguments in json.loads(commands):
    sys.argv = ["backbench", *arguments]
    with contextlib.redirect_stdout(io.StringIO()) as out:
        try:
            main()
        except SystemExit as stop:
            assert not stop.code, (arguments, stop.code)
    heavy = {"torch", "torchvision", "timm", "faiss", "sklearn", "matplotlib"}
    heavy |= set(refused.split())
    if arguments[0] in {"--help", "plugins"}:  # of what is installed only
        heavy |= {"numpy", "PIL", "asyncio", "filelock"}
    heavy &= sys.modules.keys()
    assert not heavy, (arguments, heavy)
    printed.append(out.getvalue())
print(json.dumps(printed))
"""


def run_light(*arguments: str, cwd: Path | None = None, without: str = "") -> str:
    """Run a command in a process of its own; fail if it imports torch or another heavy package.

    Args:
        *arguments: The command's arguments.
        cwd: The folder in which it runs.
        without: Further packages that it must not import.

    Returns:
        What the command printed.
    """
    return run_all_light([arguments], cwd=cwd, without=without)[0]


def run_all_light(
    commands: Sequence[Sequence[str]], *, cwd: Path | None = None, without: str = ""
) -> list[str]:
    """Run commands one after the other in a process of their own, as :func:`run_light` does.

    What a command imports is there for those that follow: first come those that need least.
    """
    command = [sys.executable, "-c", _LIGHT, without, json.dumps(commands)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    printed: list[str] = json.loads(done.stdout)
    return printed
