"""A benchmark of seconds with all that writes to a store, and what must be true of its store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from backbench.data.embedded_classes import class_names
from backbench.store.store import hash_files

#: Decoded images that are built, checkpoints after each epoch, poisons of which one is composed and
#: added and one learned, two methods, an implant, a repair, a sanitized and a guarded training, a
#: verdict and a detector that learns.
TEXT: Final = """
[benchmark]
name = "crash"
seeds = [0]

[datasets.photos]
plugin = "image-folder"
root = "photos"
val_size = 16
cache = "full"

[datasets.drawn]
plugin = "embedded"
size = 16
train_per_class = 8
val_per_class = 3
classes = 3

[attacks.targeted]
plugin = "patch"
target = "TARGET"
rate = { of = "count", value = 4 }
width = 5

[attacks.added]
plugin = "corrupt-encoder"
target = "TARGET"
rate = { of = "count", value = 3 }
width = 4
references = 2

[attacks.learned]
plugin = "blto"
target = "TARGET"
rate = { of = "count", value = 3 }
width = 4
restarts = 1
steps = 1
batch_size = 4

[attacks.learned.surrogate]
epochs = 2
batch_size = 8
dim = 8
hidden = 4
views = { size = 16 }
backbone = { name = "tiny-resnet", widths = [4, 4], strides = [2, 2] }
schedule = { name = "constant", milestones = [] }

[attacks.implanted]
plugin = "badencoder"
target = "TARGET"
width = 5
epochs = 2
batch_size = 8
views = { scale = [0.5, 1.0] }

[methods.rotnet]
epochs = 3
batch_size = 8
knn_evaluations = 0
checkpoint_minutes = 0
backbone = { name = "tiny-resnet", widths = [4, 4], strides = [2, 2] }
schedule = { name = "constant", milestones = [] }

[methods.moco-v2]
epochs = 3
batch_size = 8
queue = 16
norm_groups = 2
knn_evaluations = 0
checkpoint_minutes = 0
views = { size = 16 }
backbone = { name = "tiny-resnet", widths = [4, 4], strides = [2, 2] }
schedule = { name = "constant", milestones = [] }

[defenses.distill]
epochs = 3
batch_size = 8
clean_fraction = 0.5
queue = 16
checkpoint_minutes = 0
schedule = { name = "constant", milestones = [] }

[defenses.patch-search]
clusters = 3
iterations = 2
test_images = 6
window = 4
top = 2
classifiers = 1
steps = 2
batch_size = 4
patch_sizes = [3, 5]
backbone = { name = "tiny-resnet", widths = [4, 4], strides = [2, 2] }

[defenses.decree]
clean_fraction = 0.5
epochs = 2
batch_size = 8

[defenses.localized-cropping]

[defenses.dede]
patch = 8
width = 8
depth = 1
heads = 2
epochs = 2
batch_size = 8
draws = 1

[evaluators.knn]
k = 3

[profiles.small]
attacks = "none"

[profiles.poisoned]
attacks = "targeted"
methods = "rotnet"
defenses = "none"

[[matrix]]
datasets = "drawn"
methods = "rotnet"
evaluators = "knn"
profiles = ["small"]

[[matrix]]
datasets = "photos"
attacks = "targeted"
methods = "moco-v2"
defenses = ["none", "localized-cropping"]
evaluators = "knn"

[[matrix]]
datasets = "drawn"
attacks = ["added", "implanted", "learned"]
methods = "rotnet"
evaluators = "knn"

[[matrix]]
datasets = "drawn"
attacks = "targeted"
methods = "rotnet"
defenses = ["none", "distill", "patch-search", "decree", "dede"]
evaluators = "knn"
"""

#: Fields of a record that say when and where its stage ran, and after how many deaths.
_CIRCUMSTANCES: Final = {
    "provenance", "wall_s", "cpu_s", "peak_mem_gib", "finished", "resumed",
}  # fmt: skip


def make(folder: Path) -> None:
    """Write the benchmark file and its images into a folder."""
    names = class_names(3)
    text = TEXT.replace("TARGET", names[0])
    (folder / "benchmarks.toml").write_text(text, encoding="utf-8")
    rng = np.random.default_rng(0)
    for split, count in (("train", 8), ("val", 3)):
        for name in names[:2]:
            parent = folder / "photos" / split / name
            parent.mkdir(parents=True)
            for index in range(count):
                pixels = rng.integers(0, 256, (*rng.integers(16, 24, 2), 3), np.uint8)
                Image.fromarray(pixels).save(parent / f"{index}.png")


def records(store: Path) -> dict[str, dict[str, Any]]:
    """Return the records of a store by key, without the circumstances."""
    found = {}
    for path in sorted((store / "records").glob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        found[path.stem] = {k: v for k, v in content.items() if k not in _CIRCUMSTANCES}
    return found


def published(store: Path) -> dict[str, tuple[int, int]]:
    """Return the identity of each record's file: it changes when the stage is done again."""
    status = {path.stem: path.stat() for path in (store / "records").glob("*.json")}
    return {key: (one.st_ino, one.st_mtime_ns) for key, one in status.items()}


def torn(store: Path) -> Iterator[str]:
    """Yield what is wrong with the stages that a store says are done."""
    for key, record in records(store).items():
        if hash_files(store / "artifacts" / key) != record["files"]:
            yield f"artifact {key} is not what its record says"


def differences(store: Path, whole: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Yield how a finished store differs from an undisturbed one."""
    yield from torn(store)
    found = records(store)
    for key in sorted({*found, *whole}):
        if found.get(key) != whole.get(key):
            label = (found.get(key) or whole[key])["stage"]["label"]
            yield f"record {key} ({label}) differs"
    for parent in ("tmp", "building", "checkpoints", "failures"):
        if left := [str(path.relative_to(store)) for path in (store / parent).glob("*")]:
            yield f"left behind: {', '.join(left)}"
    if left := [str(path.relative_to(store)) for path in store.rglob(".*")]:
        yield f"left behind: {', '.join(left)}"
    if artifacts := {path.name for path in (store / "artifacts").iterdir()} - found.keys():
        yield f"artifacts without a record: {', '.join(sorted(artifacts))}"
