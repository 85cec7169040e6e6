"""The request for poisoned files: from a file and the command line to validated values."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from backbench.benchmark.file import Header, pydantic_problems
from backbench.benchmark.instances import Instance, load_instance, open_dataset
from backbench.benchmark.sweeps import expanded
from backbench.data.attacker_images import AttackerImages
from backbench.data.encode import FileFormat
from backbench.data.file_dataset import FileDataset
from backbench.errors import ConfigError, Problem
from backbench.images import ImageSet
from backbench.model import NONE, Axis
from backbench.plugin import AttackInfo, Dataset, DatasetMetadata, JPEGOptions, LocalPath
from backbench.plugin.registry import Registry
from backbench.plugin.suggestions import suggestion
from backbench.poison.files import published
from backbench.system.toml import parse_toml, read_toml_text

Stamped = Literal["train", "val_poisoned"]

#: Quality of JPEGs where no other is set: the published one.
DEFAULT_QUALITY: Final = published.QUALITY
DEFAULT_OUT: Final = Path("poison")


def _comma_separated(value: Any) -> Any:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


class PoisonTable(BaseModel):
    """The table ``[poison]``; the command line goes before it."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    dataset: str | None = Field(None, description="the dataset, where the file has several")
    attack: str | None = Field(None, description="the attack, where the file has several")
    seed: Annotated[int, Field(ge=0, strict=True)] | None = Field(
        None, description="seed of every draw; left out, the benchmark's first, or 0"
    )
    out: LocalPath | None = Field(None, description="folder to write to")
    splits: Annotated[
        tuple[Stamped, ...], BeforeValidator(_comma_separated), Field(min_length=1)
    ] = Field(("train", "val_poisoned"), description="what to write")
    format: FileFormat | None = Field(
        None,
        description="of the images: jpeg or png; left out, jpeg, or png if JPEG erases the trigger",
    )
    quality: int | None = Field(
        None, ge=1, le=95, description="of JPEGs; left out, the attack's jpeg_quality, or 75"
    )
    reencode_clean: bool = Field(
        default=False, description="write clean images too, coded like the poisoned ones"
    )
    patch_columns: bool = Field(
        default=False, description="end the lines of poisoned images with x y width height"
    )
    id: str | None = Field(
        None, min_length=1, description="name folders and lists as the published code does"
    )

    @field_validator("id")
    @classmethod
    def _plain_id(cls, ident: str | None) -> str | None:
        if ident is not None and not published.is_component(ident):
            raise ValueError(published.NOT_A_COMPONENT)
        return ident


@dataclass(frozen=True, slots=True)
class NamedSet:
    """A dataset that an option of the attack names, opened."""

    instance: Instance
    data: Dataset


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A validated request, before any image is read; ``sets`` by the attack's options."""

    source: str
    dataset: Instance
    attack: Instance
    poison: PoisonTable
    seed: int
    out: Path
    lists: Path
    notes: tuple[str, ...]
    data: Dataset
    metadata: DatasetMetadata
    sets: Mapping[str, NamedSet]

    def open_sets(self) -> dict[str, Callable[[], ImageSet]]:
        """Return what opens each further set of images that the attack's options name."""
        found: dict[str, Callable[[], ImageSet]] = {
            option: partial(AttackerImages, folder)
            for option, folder in self.attack.options.sets().items()
            if isinstance(folder, Path)
        }
        for option, named in self.sets.items():
            found[option] = partial(named.data.load, "train", verify=False)
        return found

    @property
    def format(self) -> FileFormat:
        """Coding of the files."""
        return _format(self.attack, self.poison)

    @property
    def quality(self) -> int:
        """Quality of the JPEGs."""
        own = _own_quality(self.attack)
        return self.poison.quality or own or DEFAULT_QUALITY


def read_request(path: Path, given: Mapping[str, Any], registry: Registry) -> Request:
    """Read a file of ours or a published one, and open the dataset; values ``given`` go first.

    Raises:
        ConfigError: With every problem of the file and the command line.
    """
    problems: list[Problem] = []
    tables, notes, is_ours = read_tables(path)
    tables = expanded(tables, problems) if is_ours else tables
    base = path.parent if is_ours else Path.cwd()
    poison = _poison_table(tables, given, base, problems)
    header = _header(tables, problems)
    found: dict[str, Instance] = {}
    for axis in ("datasets", "attacks"):
        name = _choose(tables, axis, getattr(poison, Axis.of_plural(axis)), registry, problems)
        if name is not None:
            one = load_instance(
                tables, axis, name, registry=registry, folder=path.parent, problems=problems
            )
            if one is not None:
                found[axis] = one
    opened = open_dataset(found["datasets"], problems) if "datasets" in found else None
    # The plan compares the trigger with each image, and names those that are too small.
    metadata = replace(opened[1], smallest=()) if opened else None
    sets: dict[str, NamedSet] = {}
    if "attacks" in found:
        problems += _no_files(found["attacks"])
        sets = _sets(tables, found["attacks"], registry, path.parent, problems)
        problems += _of_attack(found["attacks"], poison, metadata)
    if problems or opened is None or metadata is None:
        raise ConfigError(str(path), list(dict.fromkeys(problems)))
    out, data = _plain(poison.out or DEFAULT_OUT), opened[0]
    return Request(
        source=str(path),
        dataset=found["datasets"],
        attack=found["attacks"],
        poison=poison,
        seed=poison.seed if poison.seed is not None else header.seeds[0],
        out=out,
        lists=out if "out" in given or poison.id is None else _plain(base),
        notes=(*notes, *(data.listing.notes if isinstance(data, FileDataset) else ())),
        data=data,
        metadata=metadata,
        sets=sets,
    )


def _no_files(attack: Instance) -> Iterator[Problem]:
    """Yield why the poison of an attack cannot be written without a benchmark."""
    info = attack.registered.info
    if not isinstance(info, AttackInfo):
        return
    if info.acts_on == "encoder":
        sentence = f"{info.name} changes encoders and poisons no image: nothing can be written"
        yield Problem(attack.path, sentence)
    if info.learns:
        sentence = (
            f"{info.name} learns its trigger in a stage of `backbench run`, which keeps the "
            "poisoned images in the store: no files can be written"
        )
        yield Problem(attack.path, sentence)
    elif info.reads_encoder:
        sentence = (
            f"{info.name} chooses its poisons by the features of a clean encoder, which only "
            "`backbench run` trains: no files can be written"
        )
        yield Problem(attack.path, sentence)


def _sets(
    tables: Mapping[str, Any],
    attack: Instance,
    registry: Registry,
    folder: Path,
    problems: list[Problem],
) -> dict[str, NamedSet]:
    """Open the datasets that an attack's options name."""
    found: dict[str, NamedSet] = {}
    for option, name in attack.options.sets().items():
        if not isinstance(name, str):
            continue
        known = tables.get(Axis.DATASET.plural, {})
        if name not in known and name not in registry.names(Axis.DATASET.kind):
            hint = suggestion(name, known) or f": add [datasets.{name}]"
            sentence = f"no dataset is called {name!r}{hint}"
            problems.append(Problem(f"{attack.path}.{option}", sentence))
            continue
        one = load_instance(
            tables,
            Axis.DATASET.plural,
            name,
            registry=registry,
            folder=folder,
            problems=problems,
        )
        opened = open_dataset(one, problems) if one is not None else None
        if one is not None and opened is not None:
            found[option] = NamedSet(one, opened[0])
    return found


def read_tables(path: Path) -> tuple[dict[str, Any], list[str], bool]:
    """Return the tables of a file, notes for the user, and whether the file is ours."""
    text = read_toml_text(path)
    if published.is_published(text):
        found = published.read_published(text, str(path))
        tables = published.to_tables(found, finder(path))
        return tables, published.notes_on(found), False
    return parse_toml(text, str(path)), [], True


def finder(path: Path) -> Callable[[str], Path | str]:
    """Return a function that finds what a published configuration names.

    The published code runs in ``poison-generation/``, and its configurations lie in ``cfg/`` below
    that: a relative path may begin where we are, beside the file, or one folder above it.
    """
    places = (Path.cwd(), path.parent, path.parent.parent)

    def find(name: str) -> Path | str:
        if Path(name).is_absolute():
            return name
        found = (place / name for place in places if (place / name).exists())
        return next(found, places[0] / name).absolute()

    return find


def _plain(path: Path) -> Path:
    """Make a path absolute, without ``..``: lists hold it, and it is compared with others."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - Path.absolute keeps `..`


def _poison_table(
    tables: Mapping[str, Any], given: Mapping[str, Any], folder: Path, problems: list[Problem]
) -> PoisonTable:
    stated = tables.get("poison", {})
    if not isinstance(stated, Mapping):
        problems.append(Problem("poison", "should be a table"))
        stated = {}
    inner = _validated(stated, folder, "poison", problems)
    own = _validated(given, Path.cwd(), "", problems)
    changes = {name: getattr(own, name) for name in own.model_fields_set}
    return inner.model_copy(update=changes)


def _validated(
    values: Mapping[str, Any], folder: Path, prefix: str, problems: list[Problem]
) -> PoisonTable:
    context = {"base": folder}
    try:
        return PoisonTable.model_validate(dict(values), context=context)
    except ValidationError as error:
        problems.extend(pydantic_problems(error, PoisonTable, prefix))
        wrong = {str(item["loc"][0]) for item in error.errors()}
    right = {key: value for key, value in values.items() if key not in wrong}
    return PoisonTable.model_validate(right, context=context)


def _choose(
    tables: Mapping[str, Any],
    axis: str,
    wanted: str | None,
    registry: Registry,
    problems: list[Problem],
) -> str | None:
    kind = Axis.of_plural(axis).kind
    named = tables.get(axis, {})
    if not isinstance(named, Mapping) or not all(isinstance(t, Mapping) for t in named.values()):
        problems.append(Problem(axis, f"should hold a table for each {kind}: [{axis}.name]"))
        return None
    known = dict.fromkeys([*named, *_implied(tables, axis, registry)])
    if wanted is not None:
        if wanted in known or wanted in registry.names(kind):
            return wanted
        hint = suggestion(wanted, [*known, *registry.names(kind)])
        problems.append(Problem(f"--{kind}", f"no {kind} is called {wanted!r}{hint}"))
        return None
    if len(known) == 1:
        return str(next(iter(known)))
    if known:
        message = f"the file has several: choose with --{kind}: {', '.join(known)}"
    else:
        message = f"the file has none: add a table [{axis}.name]"
    problems.append(Problem(axis, message))
    return None


def _implied(tables: Mapping[str, Any], axis: str, registry: Registry) -> list[str]:
    """Return the plugins that a matrix names without a table."""
    known = registry.names(Axis.of_plural(axis).kind)
    matrices = tables.get("matrix", [])
    found: list[str] = []
    for matrix in matrices if isinstance(matrices, list) else []:
        named = matrix.get(axis, []) if isinstance(matrix, Mapping) else []
        found += named if isinstance(named, list) else [named]
    return [name for name in found if name != NONE and name in known]


def _own_quality(attack: Instance) -> int | None:
    """Return the quality of JPEGs that the attack's options name."""
    options = attack.options
    return options.jpeg_quality if isinstance(options, JPEGOptions) else None


def _format(attack: Instance, poison: PoisonTable) -> FileFormat:
    """Return the coding that is requested, else a coding that the attack's trigger survives."""
    info = attack.registered.info
    survives: FileFormat = info.coding if isinstance(info, AttackInfo) else "jpeg"
    return poison.format or survives


def _of_attack(
    attack: Instance, poison: PoisonTable, metadata: DatasetMetadata | None
) -> list[Problem]:
    problems = []
    own = _own_quality(attack)
    if own is not None and poison.quality is not None and own != poison.quality:
        message = f"{poison.quality}, and {attack.path}.jpeg_quality is {own}: leave one out"
        problems.append(Problem("quality", message))
    if _format(attack, poison) == "png" and poison.quality is not None:
        problems.append(Problem("quality", "is of JPEGs, and format is png: leave one out"))
    if poison.id is not None and attack.registered.info.name != "patch":
        problems.append(Problem("poison.id", "the published names are for the plugin patch only"))
    if metadata is not None:
        problems += [
            Problem(attack.path, sentence)
            for sentence in attack.problems(attack.options.problems, metadata)
        ]
    return problems


def _header(tables: Mapping[str, Any], problems: list[Problem]) -> Header:
    """Return the table of the benchmark itself, whose first seed counts."""
    try:
        return Header.model_validate(tables.get("benchmark", {}))
    except ValidationError as error:
        problems.extend(pydantic_problems(error, Header, "benchmark"))
        return Header()
