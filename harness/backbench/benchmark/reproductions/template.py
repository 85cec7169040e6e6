"""Benchmark files of published matrices, with the places left open that a user must fill."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Template

from backbench.benchmark.reproductions.placeholder import STAND_IN
from backbench.errors import UsageError
from backbench.plugin.registry import suggestion

_TRIGGER = re.compile(r"\$trigger_(\d+)")


@dataclass(frozen=True, slots=True)
class Reproduction:
    """A published matrix at one scale.

    Args:
        name: ``saha2022``.
        scale: ``full``, ``cifar10`` or ``embedded``.
        text: The benchmark file, with ``$`` before the names of what is open.
    """

    name: str
    scale: str
    text: str

    @property
    def triggers(self) -> list[int]:
        """Numbers of the published triggers that it uses, each once."""
        return sorted({int(number) for number in _TRIGGER.findall(self.text)})

    @property
    def takes_data(self) -> bool:
        """Whether its images may come from a folder."""
        return "$dataset" in self.text


def reproduction_names() -> list[str]:
    """Return the names of the published matrices, sorted."""
    folders = resources.files(__package__).iterdir()
    return sorted(one.name for one in folders if one.joinpath("full.toml").is_file())


def find_reproduction(name: str, scale: str) -> Reproduction:
    """Return a published matrix.

    Args:
        name: ``saha2022``.
        scale: ``full``, ``cifar10`` or ``embedded``.

    Raises:
        UsageError: If there is none of this name, with the nearest one.
    """
    names = reproduction_names()
    if name not in names:
        raise UsageError(f"there is no reproduction {name!r}{suggestion(name, names)}")
    file = resources.files(__package__).joinpath(name, f"{scale}.toml")
    return Reproduction(name, scale, file.read_text(encoding="utf-8"))


def fill(
    found: Reproduction,
    *,
    data: Path | None = None,
    triggers: Path | None = None,
    seeds: Sequence[int] = (0,),
    stand_in: bool = False,
) -> str:
    """Fill a published matrix in.

    Args:
        found: The matrix.
        data: Folder with the images.
        triggers: Folder with the published triggers; ``None`` takes made ones of their numbers.
        seeds: One repetition of the whole matrix each.
        stand_in: Whether a count of images stands for ImageNet-100 where no folder is given:
            enough for a plan.

    Returns:
        A benchmark file. Its paths are absolute.

    Raises:
        UsageError: If a folder is not what it should be.
    """
    if data is not None and not found.takes_data:
        raise UsageError(f"--data: the scale {found.scale!r} draws its own images; leave it out")
    if data is not None and not data.is_dir():
        raise UsageError(f"--data {data}: there is no such folder")
    values = {f"trigger_{number}": str(number) for number in found.triggers}
    if triggers is not None:
        files = {number: triggers / f"trigger_{number}.png" for number in found.triggers}
        missing = [file.name for file in files.values() if not file.is_file()]
        if missing:
            raise UsageError(f"--triggers {triggers}: there is no {', no '.join(missing)} in it")
        values = {f"trigger_{number}": _quoted(file) for number, file in files.items()}
    dataset = {"full": _imagenet, "cifar10": _cifar}.get(found.scale)
    if dataset is not None:
        values["dataset"] = dataset(data, stand_in=stand_in)
    return Template(found.text).substitute(values, seeds=json.dumps(list(seeds)))


def _imagenet(data: Path | None, *, stand_in: bool) -> str:
    table = "[datasets.imagenet100]\n"
    if data is None and stand_in:
        return f'{table}plugin = "{STAND_IN}"'
    note = ""
    if data is None:
        note = (
            "# Set root to the folder of ImageNet, or of ImageNet-100, with train and val in it.\n"
        )
    root = _quoted(data) if data is not None else '"imagenet"'
    return f'{note}{table}plugin = "image-folder"\nroot = {root}\nclasses = "imagenet100"'


def _cifar(data: Path | None, *, stand_in: bool) -> str:  # noqa: ARG001 - its counts are known
    table = "[datasets.cifar10]\n"
    if data is None:
        return f'{table}plugin = "cifar10"\ndownload = true'
    val = '\nval = "test"' if not (data / "val").is_dir() and (data / "test").is_dir() else ""
    return f'{table}plugin = "image-folder"\nroot = {_quoted(data)}{val}'


def _quoted(path: Path) -> str:
    """Return a path as a TOML string."""
    return json.dumps(str(path.expanduser().absolute()), ensure_ascii=False)
