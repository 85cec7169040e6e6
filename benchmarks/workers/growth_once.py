"""One operation in a process of its own: its seconds and its peaks, as a line of JSON.

Started by :mod:`benchmarks.workers.growth`. Sizes are images. The decoded images are a sparse
file of zeros: they are mapped, and read, as any others.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final, Self

import numpy as np
from PIL import Image

from backbench.benchmark.config import Benchmark, load_benchmark
from backbench.benchmark.planning import make_plan
from backbench.data.files import FileImages, LabelledFiles
from backbench.data.fingerprint import FileHashes
from backbench.data.tensors import TensorFile
from backbench.images import ImageSet
from backbench.model import Plan, Stage, StageKind
from backbench.plugin import Split
from backbench.plugin.registry import load_registry
from backbench.stages.task import Task
from backbench.store.index import write_index
from backbench.store.metadata import DatasetRecord, EncoderRecord, Metadata
from backbench.store.records import Record
from backbench.store.store import Store

SIDE: Final = 32
CLASSES: Final = 10
VAL: Final = 1000
WIDTH: Final = 64
QUERIES: Final = 100

_FILE: Final = """
[benchmark]
name = "growth"
[datasets.drawn]
plugin = "embedded"
size = 32
train_per_class = {train}
val_per_class = 100
[attacks.patch]
plugin = "patch"
mode = "targeted"
target = "pleated-lamp"
rate = {{ of = "target_class", value = 1.0 }}
trigger = 13
width = 8
[methods.rotnet]
preset = "small"
[evaluators.knn]
preset = "small"
[[matrix]]
datasets = ["{dataset}"]
attacks = ["patch"]
methods = ["rotnet"]
evaluators = ["knn"]
"""

_FOLDER: Final = """
[datasets.files]
plugin = "image-folder"
root = "{root}"
cache = "full"
"""


class Peak:
    """The most anonymous memory of a process, asked for again and again.

    Args:
        process: Its id, or ``self``.
        every: Seconds between.
    """

    def __init__(self, process: str = "self", *, every: float = 0.002) -> None:
        self.mib = 0.0
        self._every = every
        self._process = process
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(self._every):
            self.mib = max(self.mib, anonymous_mib(self._process))


def anonymous_mib(process: str = "self") -> float:
    """Return the memory of a process that is no file's; 0 when it has ended."""
    try:
        text = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    found = [line for line in text.splitlines() if line.startswith("RssAnon")]
    return int(found[0].split()[1]) / 1024 if found else 0.0


def file_text(size: int, folder: Path, dataset: str = "drawn") -> str:
    """Return a benchmark of so many training images; ``files``: those of a folder."""
    text = _FILE.format(train=size // CLASSES, dataset=dataset)
    return text + (_FOLDER.format(root=folder / "files") if dataset == "files" else "")


def plan_of(file: Path) -> tuple[Benchmark, Plan]:
    """Return a benchmark and its plan."""
    benchmark = load_benchmark(file, load_registry())
    hashes = FileHashes(file.parent / "files.json")
    prints = {name: one.fingerprint(hashes) for name, one in benchmark.datasets.items()}
    return benchmark, make_plan(benchmark, prints)


def prepare(size: int, folder: Path) -> None:
    """Write the store that the operations on images read."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "benchmarks.toml"
    file.write_text(file_text(size, folder), encoding="utf-8")
    benchmark, plan = plan_of(file)
    store = Store(folder / "store")
    store.prepare()
    (metadata,) = benchmark.metadata.values()
    key, stage = _stage(plan, StageKind.DATASET)
    artifact = store.artifact(key)
    artifact.mkdir()
    splits: dict[Split, ImageSet] = {}
    for split, count in (("train", metadata.train), ("val", metadata.val)):
        labels = np.repeat(np.arange(CLASSES), count // CLASSES)
        sources = [f"{split}/{number:06d}" for number in range(count)]
        splits[split] = FileImages(LabelledFiles(sources, sources, labels))
        shape = (count, SIDE, SIDE, 3)
        with TensorFile(
            artifact / f"{split}.safetensors",
            {"labels": (np.int64, (count,)), "pixels": (np.uint8, shape)},
        ) as tensors:
            tensors.write("labels", labels)
    write_index(artifact / "index.json", metadata.classes, splits)
    _record(store, key, stage, DatasetRecord(metadata))
    key, stage = _stage(plan, StageKind.PRETRAIN)
    _record(store, key, stage, EncoderRecord(metadata.train))


def prepare_files(size: int, folder: Path) -> None:
    """Write a folder of small JPEGs of many sizes: links to a few files."""
    pool = folder / "pool"
    pool.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for number in range(50):
        pixels = rng.integers(0, 256, (96 + number, 128, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(pool / f"{number}.jpg")
    for split, count in (("train", size), ("val", 50)):
        for number in range(count):
            own = folder / "files" / split / f"class-{number % CLASSES}"
            own.mkdir(parents=True, exist_ok=True)
            os.link(pool / f"{number // CLASSES % 50}.jpg", own / f"{number:07d}.jpg")
    text = file_text(CLASSES, folder, "files").replace('"pleated-lamp"', '"class-7"')
    (folder / "benchmarks.toml").write_text(text, encoding="utf-8")
    Store(folder / "store").prepare()


def _record(store: Store, key: str, stage: Stage, metadata: Metadata) -> None:
    record = Record(
        key=key,
        stage=replace(stage, given={}),
        metadata=metadata,
        wall_s=0,
        cpu_s=0,
        peak_mem_gib=0,
        finished="",
    )
    text = json.dumps(record.to_json())
    (store.root / "records" / f"{key}.json").write_text(text, encoding="utf-8")


def _stage(plan: Plan, kind: StageKind) -> tuple[str, Stage]:
    """Return the first stage of a kind; of features, the clean ones."""
    return next((key, one) for key, one in plan.stages.items() if one.kind is kind)


def _task(folder: Path, kind: StageKind) -> Task:
    _, plan = plan_of(folder / "benchmarks.toml")
    _, stage = _stage(plan, kind)
    store = Store(folder / "store")
    out = folder / "out" / kind.value
    out.mkdir(parents=True, exist_ok=True)
    return Task(stage, store, out, load_registry(), "cpu", lambda _done, _total, _values: None)


def _stamp(_size: int, folder: Path) -> Callable[[], None]:
    from backbench.stages import poison

    task = _task(folder, StageKind.POISON)
    return lambda: _drop(poison.run(task))


def _features(_size: int, folder: Path) -> Callable[[], None]:
    import torch

    from backbench.nn.encoder import Encoder, EncoderSpec, save_encoder
    from backbench.options.backbones import BackboneOptions
    from backbench.stages import features

    torch.manual_seed(0)
    task = _task(folder, StageKind.FEATURES)
    options = BackboneOptions(name="tiny-resnet", widths=(4,), strides=(2,), stem_width=4)
    spec = EncoderSpec(
        backbone=options.model_dump(mode="json"),
        image_size=SIDE,
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
    )
    artifact = task.input("encoder")
    artifact.mkdir(exist_ok=True)
    save_encoder(artifact, Encoder(spec))
    return lambda: _drop(features.run(task))


def _knn(size: int, _folder: Path) -> Callable[[], None]:
    registered = load_registry().find("evaluator", "knn")
    options = registered.info.options.model_validate({"k": [1, 50]})
    evaluator = registered.implementation()(options, 0)
    rng = np.random.default_rng(0)
    bank = rng.random((size, WIDTH), dtype=np.float32)
    labels = rng.integers(0, CLASSES, size)
    asked = rng.random((QUERIES, WIDTH), dtype=np.float32)

    def run() -> None:
        evaluator.fit(bank, labels, CLASSES)
        evaluator.predict(asked)

    return run


def _decode(_size: int, folder: Path) -> Callable[[], None]:
    from backbench.stages import dataset

    task = _task(folder, StageKind.DATASET)
    return lambda: _drop(dataset.run(task))


def _drop(_outcome: object) -> None:
    """Keep nothing."""


OPERATIONS: Final[dict[str, Callable[[int, Path], Callable[[], None]]]] = {
    "poison": _stamp,
    "features": _features,
    "k-NN": _knn,
    "decode": _decode,
}


def main() -> None:
    """Do one operation."""
    name, size, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    run = OPERATIONS[name](size, folder)
    before = anonymous_mib()
    with Peak() as peak:
        start = time.perf_counter()
        run()
        seconds = time.perf_counter() - start
    of = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    found = {
        "seconds": seconds,
        "anonymous_mib": max(peak.mib, before),
        "before_mib": before,
        "peak_mib": max(resource.getrusage(who).ru_maxrss for who in of) / 1024,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
