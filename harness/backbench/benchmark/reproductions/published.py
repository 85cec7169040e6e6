"""From the name of a published matrix to a validated benchmark."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from backbench.benchmark.config import Benchmark, benchmark_from
from backbench.benchmark.reproductions.placeholder import TRAIN, VAL, add_stand_in
from backbench.benchmark.reproductions.template import fill, find_reproduction
from backbench.errors import UsageError
from backbench.plugin.registry import Registry
from backbench.system import files


@dataclass(frozen=True, slots=True)
class Published:
    """A published matrix, filled in.

    Args:
        source: Its name and scale, for errors.
        text: The benchmark file.
        stand_in: Whether a count of images stands for ImageNet-100: enough for a plan.
        notes: What replaces missing values, a line each.
    """

    source: str
    text: str
    stand_in: bool
    notes: tuple[str, ...]

    def benchmark(self, registry: Registry, profile: str | None = None) -> Benchmark:
        """Validate the benchmark.

        Args:
            registry: The installed plugins; the dataset that stands for ImageNet-100 is added.
            profile: Name of a profile of it.

        Raises:
            ConfigError: With every problem.
        """
        if self.stand_in:
            add_stand_in(registry)
        return benchmark_from(
            tomllib.loads(self.text),
            source=self.source,
            folder=Path.cwd(),
            registry=registry,
            profile=profile,
        )

    def write(self, target: Path) -> None:
        """Write the benchmark file, to be edited.

        Raises:
            UsageError: If the file is there already.
        """
        if target.exists():
            raise UsageError(f"--write {target}: the file is there already: choose another name")
        files.write(target, self.text)


def published(
    name: str,
    scale: str = "full",
    *,
    data: Path | None = None,
    triggers: Path | None = None,
    seeds: Sequence[int] = (0,),
    counts: bool = False,
    runs: bool = False,
) -> Published:
    """Fill a published matrix in.

    Args:
        name: ``saha2022``.
        scale: ``full``, ``cifar10`` or ``embedded``.
        data: Folder with the images.
        triggers: Folder with the published triggers; ``None`` takes made ones of their numbers.
        seeds: One repetition of the whole matrix each.
        counts: Let a count of images stand for those that are not given: enough for a plan.
        runs: Whether the matrix will run: refuse it without its images.

    Raises:
        UsageError: If there is none of this name, or a folder is not what it should be.
    """
    found = find_reproduction(name, scale)
    if runs and scale == "full" and data is None:
        raise UsageError(
            f"reproduce {name}: ImageNet-100 does not come with backbench: give --data DIR, the "
            "folder of ImageNet or ImageNet-100 with train and val in it; or --plan, or --scale "
            "cifar10 or embedded"
        )
    stand_in = counts and scale == "full" and data is None
    text = fill(found, data=data, triggers=triggers, seeds=seeds, stand_in=stand_in)
    notes = []
    if stand_in:
        notes.append(f"ImageNet-100 not given: counted with {TRAIN:,} + {VAL:,} images")
    if triggers is None:
        numbers = ", ".join(map(str, found.triggers))
        notes.append(
            f"triggers not given: built-in triggers of the same numbers, {numbers}; --triggers "
            "DIR uses the published files"
        )
    return Published(f"{name}, scale {scale}", text, stand_in, tuple(notes))
