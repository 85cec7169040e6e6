"""Folders and lists of images as text, and the progress of a copy."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from backbench.benchmark.config import Benchmark
from backbench.data.classes import VARIANTS, describe, fingerprint
from backbench.data.contents import Contents
from backbench.data.listing import FileDataset
from backbench.data.subset import Subset
from backbench.errors import printable
from backbench.plugin import Dataset, DatasetMetadata

#: Seconds between two plain lines about a copy.
_PLAIN_EVERY_S = 30.0

#: So many classes are counted by name.
_FEW = 20


def subset_text(subset: Subset) -> str:
    """Return one line on a subset of ImageNet that has been made."""
    names = subset.classes
    train, val = (len(subset.images[split]) for split in ("train", "val"))
    if subset.links:
        done = f"{len(subset.links)} folders linked"
    else:
        done = f"{_count(len(subset.missing), 'image')} copied"
    return (
        f"{subset.out}: {len(names)} classes, {train:,} training and {val:,} validation images, "
        f"{_size(subset.total_bytes)} ({done}); fingerprint {fingerprint(names)[:16]} "
        f"({re.split('[:;]', describe(names))[0]})"
    )


def subset_note(subset: Subset) -> str:
    """Return that a known set lacks images, or has too many; empty if it does not."""
    return _size_note(subset.classes, [len(subset.images[split]) for split in ("train", "val")])


def contents_text(contents: Contents) -> str:
    """Return what a folder or a list holds, a line each."""
    rows: list[tuple[str, str]] = [("what", contents.kind)]
    names = contents.classes
    if names is not None:
        rows += [
            ("classes", f"{len(names):,}"),
            ("fingerprint", fingerprint(names)),
            ("variant", describe(names)),
        ]
    rows += [(split, _split(counts)) for split, counts in contents.splits.items()]
    rows += [("note", problem) for problem in contents.problems]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {text}" for name, text in rows)


def contents_note(contents: Contents) -> str:
    """Return that a known set lacks images, or has too many; empty if it does not."""
    if contents.classes is None or contents.splits.keys() != {"train", "val"}:
        return ""
    return _size_note(contents.classes, [sum(one) for one in contents.splits.values()])


def datasets_text(benchmark: Benchmark) -> str:
    """Return how many images of each class the datasets have, as far as that is known."""
    return "\n".join(
        line
        for name, dataset in benchmark.datasets.items()
        for line in _dataset_lines(name, dataset, benchmark.metadata[name])
    )


def _dataset_lines(name: str, dataset: Dataset, metadata: DatasetMetadata) -> Iterator[str]:
    yield printable(f"dataset {name}: {len(metadata.classes):,} classes")
    val: Sequence[int] = ()
    if isinstance(dataset, FileDataset):
        val = np.bincount(dataset.listing.val.labels, minlength=len(metadata.classes)).tolist()
    for split, total, counts in (
        ("train", metadata.train, metadata.train_per_class),
        ("val", metadata.val, val),
    ):
        counted = dict(zip(metadata.classes, counts, strict=False))
        each = f" ({_each(counted)})" if counted else ""
        yield printable(f"  {split}: {_count(total, 'image')}{each}")


def _each(counted: Mapping[str, int]) -> str:
    """Return the counts of few classes by name; of many, the range."""
    least, most = (pick(counted, key=lambda name: counted[name]) for pick in (min, max))
    if counted[least] == counted[most]:
        return f"{counted[least]:,} a class"
    if len(counted) <= _FEW:
        return ", ".join(f"{name} {count:,}" for name, count in counted.items())
    return f"{counted[least]:,} ({least}) to {counted[most]:,} ({most}) a class"


def _split(counts: Sequence[int]) -> str:
    if not counts:
        return "no class folders"
    least, most = min(counts), max(counts)
    each = f"{least:,}" if least == most else f"{least:,} to {most:,}"
    return f"{_count(sum(counts), 'image')}, {each} a class"


def _size_note(names: Sequence[str], images: Sequence[int]) -> str:
    known = VARIANTS.get(fingerprint(names))
    if known is None or known.images is None or known.images == tuple(images):
        return ""
    whole = "{:,} training and {:,} validation images".format(*known.images)
    return f"note: the published {known.name} has {whole}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _size(count: int) -> str:
    """Write a number of bytes as people do."""
    size, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{size:.3g} {unit}"


@contextmanager
def copying(total: int) -> Iterator[Any]:
    """Show on stderr how far a copy is; yield what to call with the bytes of each file.

    Args:
        total: Bytes to be copied.
    """
    console = Console(stderr=True)
    if console.is_terminal:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task("copying", total=total)
            yield lambda count: bar.advance(task, count)
        return
    lock, done, said = threading.Lock(), 0, time.monotonic()

    def advance(count: int) -> None:
        nonlocal done, said
        with lock:
            done += count
            if time.monotonic() - said >= _PLAIN_EVERY_S:
                said = time.monotonic()
                console.print(f"  … copying: {_size(done)} of {_size(total)}")

    yield advance
