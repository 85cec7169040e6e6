"""Folders and lists of images as text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from backbench.data.classes import VARIANTS, describe, fingerprint
from backbench.errors import counted, printable

if TYPE_CHECKING:
    from backbench.benchmark.config import Benchmark
    from backbench.data.class_counts import Contents
    from backbench.data.subset import Subset
    from backbench.plugin import Dataset, DatasetMetadata

#: So many classes are counted by name.
_FEW = 20


def subset_text(subset: Subset) -> str:
    """Return one line on a subset of ImageNet that has been made."""
    names = subset.classes
    train, val = subset.images.values()
    if subset.links:
        done = f"{len(subset.links)} folders linked"
    else:
        done = f"{counted(len(subset.missing), 'image')} copied"
    return (
        f"{subset.out}: {len(names)} classes, {train:,} training and {val:,} validation images, "
        f"{done}; fingerprint {fingerprint(names)[:16]} ({re.split('[:;]', describe(names))[0]})"
    )


def subset_note(subset: Subset) -> str:
    """Return that a known set lacks images, or has too many; empty if it does not."""
    return _size_note(subset.classes, list(subset.images.values()))


def contents_text(contents: Contents) -> str:
    """Return what a folder or a list holds, a line each."""
    rows: list[tuple[str, str]] = [("what", contents.kind)]
    names = contents.classes
    if names is not None:
        rows.append(("classes", f"{len(names):,}"))
        rows += [("fingerprint", fingerprint(names)), ("variant", describe(names))]
    rows += [(split, _split(counts)) for split, counts in contents.splits.items()]
    rows += [("note", problem) for problem in contents.problems]
    width = max(len(name) for name, _ in rows)
    return printable("\n".join(f"{name:<{width}}  {text}" for name, text in rows))


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
    classes = f"{len(metadata.classes):,} classes" if metadata.labelled else "no labels"
    yield printable(f"dataset {name}: {classes}")
    for split, total, counts in (
        ("train", metadata.train, metadata.train_per_class),
        ("val", metadata.val, dataset.val_per_class()),
    ):
        by_name = dict(zip(metadata.classes, counts, strict=False))
        each = f" ({_each(by_name)})" if by_name else ""
        if split == "val" and not metadata.labelled:
            return
        yield printable(f"  {split}: {counted(total, 'image')}{each}")


def _each(counts: Mapping[str, int]) -> str:
    """Return the counts of few classes by name; of many, the range."""
    least, most = (pick(counts, key=lambda name: counts[name]) for pick in (min, max))
    if counts[least] == counts[most]:
        return f"{counts[least]:,} a class"
    if len(counts) <= _FEW:
        return ", ".join(f"{name} {count:,}" for name, count in counts.items())
    return f"{counts[least]:,} ({least}) to {counts[most]:,} ({most}) a class"


def _split(counts: Sequence[int]) -> str:
    if not counts:
        return "no class folders"
    least, most = min(counts), max(counts)
    each = f"{least:,}" if least == most else f"{least:,} to {most:,}"
    return f"{counted(sum(counts), 'image')}, {each} a class"


def _size_note(names: Sequence[str], images: Sequence[int]) -> str:
    known = VARIANTS.get(fingerprint(names))
    if known is None or known.images is None or known.images == tuple(images):
        return ""
    whole = "{:,} training and {:,} validation images".format(*known.images)
    return f"note: the published {known.name} has {whole}"
