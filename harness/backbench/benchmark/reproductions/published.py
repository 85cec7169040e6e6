"""Published matrices, filled in with what a user has, as validated benchmarks."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from string import Template
from typing import Final, NoReturn

from backbench.benchmark.config import Benchmark, benchmark_from
from backbench.data.classes import class_list
from backbench.errors import DataError, UsageError
from backbench.plugin import Dataset, DatasetInfo, DatasetMetadata, Split, hookimpl
from backbench.plugin.packages import Origin
from backbench.plugin.registry import Registry
from backbench.plugin.suggestions import suggestion
from backbench.system import files
from backbench.system.json_text import to_json

#: Name of the plugin; it is there only where a reproduction is planned without its images.
STAND_IN: Final = "imagenet100-counts"

#: Images of ImageNet-100. How they are spread over the classes is not published; evenly, here.
TRAIN: Final = 126_689
VAL: Final = 5_000

_TRIGGER = re.compile(r"\$trigger_(\d+)")


@dataclass(frozen=True, slots=True)
class Reproduction:
    """A published matrix at one scale."""

    name: str
    scale: str
    text: str

    @property
    def triggers(self) -> list[int]:
        """Numbers of the published triggers that it uses, each once."""
        return sorted({int(number) for number in _TRIGGER.findall(self.text)})

    @property
    def takes_data(self) -> bool:
        """Return whether its images may come from a folder."""
        return "$dataset" in self.text


def reproduction_names() -> list[str]:
    """Return the names of the published matrices, sorted."""
    folders = resources.files(__package__).iterdir()
    return sorted(one.name for one in folders if one.joinpath("full.toml").is_file())


def find_reproduction(name: str, scale: str) -> Reproduction:
    """Return a published matrix; of an unknown name, raise a UsageError with the nearest."""
    names = reproduction_names()
    if name not in names:
        raise UsageError(f"there is no reproduction {name!r}{suggestion(name, names)}")
    file = resources.files(__package__).joinpath(name, f"{scale}.toml")
    return Reproduction(name, scale, file.read_text(encoding="utf-8"))


@dataclass(frozen=True, slots=True)
class Published:
    """A published matrix, filled in."""

    source: str
    text: str
    stand_in: bool
    notes: tuple[str, ...]

    def benchmark(self, registry: Registry, profile: str | None = None) -> Benchmark:
        """Validate the benchmark."""
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
        """Write the benchmark file, to be edited."""
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
    """Find a published matrix and fill it in; see :func:`fill`."""
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
    if triggers is None and found.triggers:
        numbers = ", ".join(map(str, found.triggers))
        notes.append(
            f"triggers not given: built-in triggers of the same numbers, {numbers}; --triggers "
            "DIR uses the published files"
        )
    return Published(f"{name}, scale {scale}", text, stand_in, tuple(notes))


def fill(
    found: Reproduction,
    *,
    data: Path | None = None,
    triggers: Path | None = None,
    seeds: Sequence[int] = (0,),
    stand_in: bool = False,
) -> str:
    """Fill a published matrix in.

    Raises:
        UsageError: If a folder is not what it should be.
    """
    if data is not None and not found.takes_data:
        raise UsageError(f"--data: the scale {found.scale!r} draws its own images; leave it out")
    if data is not None and not data.is_dir():
        raise UsageError(f"--data {data}: there is no such folder")
    values = {f"trigger_{number}": str(number) for number in found.triggers}
    if triggers is not None and not found.triggers:
        raise UsageError(f"--triggers: {found.name} makes its own trigger; leave it out")
    if triggers is not None:
        paths = {number: triggers / f"trigger_{number}.png" for number in found.triggers}
        missing = [path.name for path in paths.values() if not path.is_file()]
        if missing:
            raise UsageError(f"--triggers {triggers}: there is no {', no '.join(missing)} in it")
        values = {f"trigger_{number}": _quoted(path) for number, path in paths.items()}
    if found.scale == "full":
        values["dataset"] = _imagenet(data, stand_in=stand_in)
    elif found.scale == "cifar10":
        values["dataset"] = _cifar(data)
    return Template(found.text).substitute(values, seeds=to_json(list(seeds)))


def _imagenet(data: Path | None, *, stand_in: bool) -> str:
    table = "[datasets.imagenet100]\n"
    if data is None and stand_in:
        return f'{table}plugin = "{STAND_IN}"'
    advice = "# Set root to the folder of ImageNet or ImageNet-100, with train and val in it.\n"
    note, root = (advice, '"imagenet"') if data is None else ("", _quoted(data))
    return f'{note}{table}plugin = "image-folder"\nroot = {root}\nclasses = "imagenet100"'


def _cifar(data: Path | None) -> str:
    table = "[datasets.cifar10]\n"
    if data is None:
        return f'{table}plugin = "cifar10"\ndownload = true'
    val = '\nval = "test"' if not (data / "val").is_dir() and (data / "test").is_dir() else ""
    return f'{table}plugin = "image-folder"\nroot = {_quoted(data)}{val}'


def _quoted(path: Path) -> str:
    """Return a path as a TOML string."""
    return to_json(str(files.from_home(path).absolute()), ensure_ascii=False)


class _StandIn:
    @hookimpl
    def register_datasets(self) -> Iterable[DatasetInfo]:
        yield DatasetInfo(
            name=STAND_IN,
            summary="ImageNet-100 by its published counts: to plan with, not to run.",
            target=f"{__name__}:ImageNet100Counts",
        )


def add_stand_in(registry: Registry) -> None:
    """Let a benchmark be planned that names :data:`STAND_IN` as a dataset's plugin."""
    registry.add(_StandIn(), Origin("backbench", version("backbench"), "reproductions"))


class ImageNet100Counts(Dataset):
    """ImageNet-100 without its images."""

    def metadata(self) -> DatasetMetadata:
        """Return the published metadata: the classes, and the number of images."""
        classes = tuple(sorted(class_list("imagenet100")))
        each, more = divmod(TRAIN, len(classes))
        return DatasetMetadata(
            classes=classes,
            train=TRAIN,
            val=VAL,
            size=None,
            train_per_class=tuple(each + (rank < more) for rank in range(len(classes))),
        )

    def fingerprint(self, hash_file: Callable[[str], str]) -> str:  # noqa: ARG002 - has no file
        """Return what no dataset with images returns."""
        return STAND_IN

    def load(self, split: Split, *, verify: bool = True) -> NoReturn:  # noqa: ARG002 - has none
        """Refuse: there is no image."""
        raise DataError("ImageNet-100 can be planned without its images, not run: give --data")
