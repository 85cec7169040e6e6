"""From ``benchmarks.toml`` to a validated benchmark: all faults at once, by TOML path."""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from backbench.errors import ConfigError, DataError, Fault, PluginError, UsageError
from backbench.model import NONE, CellName, PluginUse
from backbench.plugin import (
    AttackInfo,
    Dataset,
    DatasetFacts,
    DatasetInfo,
    DefenseInfo,
    EvaluatorInfo,
    Options,
    PluginInfo,
    SSLMethodInfo,
)
from backbench.registry import Registered, Registry, nearest

DEFAULT_FILE = Path("benchmarks.toml")


def _one_or_many(value: Any) -> Any:
    return [value] if isinstance(value, str | int) and not isinstance(value, bool) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_one_or_many), Field(min_length=1)]
Seeds = Annotated[
    tuple[Annotated[int, Field(ge=0, strict=True)], ...],
    BeforeValidator(_one_or_many),
    Field(min_length=1),
]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Filter(_Table):
    """Some names of some axes; an axis that is not given is not restricted."""

    datasets: Names | None = Field(None, description="data set instances")
    attacks: Names | None = Field(None, description="attack instances, or 'none'")
    methods: Names | None = Field(None, description="SSL method instances")
    defenses: Names | None = Field(None, description="defense instances, or 'none'")
    evaluators: Names | None = Field(None, description="evaluator instances")
    seeds: Seeds | None = Field(None, description="seeds")

    def holds(self, cell: CellName) -> bool:
        """Say whether a cell's names are all among those given."""
        return all(
            allowed is None or value in allowed
            for allowed, value in (
                (self.datasets, cell.dataset),
                (self.attacks, cell.attack),
                (self.methods, cell.method),
                (self.defenses, cell.defense),
                (self.evaluators, cell.evaluator),
                (self.seeds, cell.seed),
            )
        )


class Profile(Filter):
    """A named part of the matrix: ``--profile quick``."""

    description: str = Field("", description="what the profile is for")
    exclude: tuple[Filter, ...] = Field((), description="cells to leave out")

    def holds(self, cell: CellName) -> bool:
        """Say whether a cell belongs to the profile."""
        return Filter.holds(self, cell) and not any(rule.holds(cell) for rule in self.exclude)


class Matrix(_Table):
    """A product of instances, less what is excluded."""

    datasets: Names = Field(description="data set instances")
    attacks: Names = Field((NONE,), description="attack instances, or 'none'")
    methods: Names = Field(description="SSL method instances")
    defenses: Names = Field((NONE,), description="defense instances, or 'none'")
    evaluators: Names = Field(description="evaluator instances")
    seeds: Seeds | None = Field(None, description="seeds; those of [benchmark] if not given")
    exclude: tuple[Filter, ...] = Field((), description="cells to leave out")

    def cells(self, seeds: tuple[int, ...]) -> Iterator[CellName]:
        """Yield the cells, seed by seed, so that whole seeds are finished first."""
        product = itertools.product(
            self.seeds or seeds,
            self.datasets,
            self.methods,
            self.attacks,
            self.defenses,
            self.evaluators,
        )
        for seed, dataset, method, attack, defense, evaluator in product:
            cell = CellName(dataset, attack, method, defense, evaluator, seed)
            if not any(rule.holds(cell) for rule in self.exclude):
                yield cell


class Header(_Table):
    """The benchmark itself."""

    name: str = Field("benchmark", min_length=1, description="name of the benchmark")
    description: str = Field("", description="what it measures")
    seeds: Seeds = Field((0,), description="one repetition of the whole matrix a seed")


class BenchmarkFile(_Table):
    """The tables of a benchmark file."""

    benchmark: Header = Field(default_factory=Header, description="the benchmark itself")
    datasets: dict[str, dict[str, Any]] = Field(default_factory=dict)
    attacks: dict[str, dict[str, Any]] = Field(default_factory=dict)
    methods: dict[str, dict[str, Any]] = Field(default_factory=dict)
    defenses: dict[str, dict[str, Any]] = Field(default_factory=dict)
    evaluators: dict[str, dict[str, Any]] = Field(default_factory=dict)
    matrix: tuple[Matrix, ...] = Field(min_length=1)
    profiles: dict[str, Profile] = Field(default_factory=dict)


#: The axis of the matrix, and the table of instances, of each kind of plugin.
AXES: dict[str, str] = {
    "datasets": DatasetInfo.kind,
    "attacks": AttackInfo.kind,
    "methods": SSLMethodInfo.kind,
    "defenses": DefenseInfo.kind,
    "evaluators": EvaluatorInfo.kind,
}

_MAY_BE_NONE = frozenset({"attacks", "defenses"})


@dataclass(frozen=True, slots=True)
class Instance:
    """A plugin with its options, under the name that the file gives to it."""

    axis: str
    name: str
    registered: Registered
    options: Options

    @property
    def path(self) -> str:
        """TOML path of the instance."""
        return f"{self.axis}.{self.name}"

    def use(self) -> PluginUse:
        """Return the plugin and its options as they enter stages."""
        info = self.registered.info
        return PluginUse(
            kind=info.kind,
            name=info.name,
            distribution=self.registered.origin.distribution,
            revision=info.revision,
            options=self.options.model_dump(mode="json"),
            identity=self.options.identity(),
        )


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A validated benchmark.

    Args:
        source: The file it came from, as the user named it.
        name: Its name.
        instances: The instances that cells use, by axis and name.
        datasets: The data set objects, by instance name.
        facts: What is known of each data set.
        cells: The cells, in the matrix's order, each once.
    """

    source: str
    name: str
    instances: Mapping[str, Mapping[str, Instance]]
    datasets: Mapping[str, Dataset]
    facts: Mapping[str, DatasetFacts]
    cells: tuple[CellName, ...]


def load_benchmark(path: Path, registry: Registry, profile: str | None = None) -> Benchmark:
    """Read and validate a benchmark file.

    Args:
        path: The TOML file.
        registry: The installed plugins.
        profile: Name of a profile of the file; the whole matrix if ``None``.

    Raises:
        ConfigError: With every fault of the file.
        UsageError: If the file cannot be read.
    """
    tables = _read(path)
    faults: list[Fault] = []
    content = _parse(tables, faults)
    if content is None:  # the tables' own shape is at fault; say what else is
        _instances(_only_instances(tables), registry, path.parent, faults)
        raise ConfigError(str(path), faults)
    instances, broken = _instances(content, registry, path.parent, faults)
    _check_references(content, instances, broken, registry, faults)
    chosen = _profile(content, profile, faults)
    cells = tuple(
        dict.fromkeys(
            cell
            for matrix in content.matrix
            for cell in matrix.cells(content.benchmark.seeds)
            if chosen is None or chosen.holds(cell)
        )
    )
    if not cells and not faults:
        faults.append(Fault("matrix", "no cell is left: exclude less, or choose another profile"))
    datasets, facts = _datasets(instances, cells, faults)
    _check_combinations(instances, facts, cells, faults)
    if faults:
        raise ConfigError(str(path), list(dict.fromkeys(faults)))
    return Benchmark(
        source=str(path),
        name=content.benchmark.name,
        instances=instances,
        datasets=datasets,
        facts=facts,
        cells=cells,
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except FileNotFoundError:
        raise UsageError(f"{path}: there is no such benchmark file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(str(path), [Fault("", f"not valid TOML: {error}")]) from error


def _parse(tables: dict[str, Any], faults: list[Fault]) -> BenchmarkFile | None:
    try:
        return BenchmarkFile.model_validate(tables)
    except ValidationError as error:
        faults.extend(pydantic_faults(error, BenchmarkFile, ""))
        return None


def _only_instances(tables: Mapping[str, Any]) -> BenchmarkFile:
    """Return the tables of instances that have the right shape, and nothing else."""
    shaped = {
        axis: {name: table for name, table in tables[axis].items() if isinstance(table, dict)}
        for axis in AXES
        if isinstance(tables.get(axis), dict)
    }
    return BenchmarkFile.model_construct(**{**dict.fromkeys(AXES, {}), "matrix": (), **shaped})


def pydantic_faults(error: ValidationError, model: type[BaseModel], prefix: str) -> Iterator[Fault]:
    """Turn a validation error into faults, with the nearest right name of an unknown key."""
    errors = error.errors(include_url=False)
    places = [item["loc"] for item in errors]
    for item in errors:
        inside = any(
            len(place) > len(item["loc"]) and place[: len(item["loc"])] == item["loc"]
            for place in places
        )
        if item["type"] == "too_short" and inside:
            continue  # its items are at fault, and are named
        location = [
            part
            for part in item["loc"]
            if not (isinstance(part, str) and ("[" in part or part in {"tuple", "nullable"}))
        ]
        path = ".".join(str(part) for part in location)
        full = ".".join(part for part in (prefix, path) if part)
        if item["type"] == "default_factory_not_called":
            continue  # follows from another fault
        if item["type"] == "extra_forbidden":
            known = _fields_at(model, location[:-1])
            close = nearest(str(location[-1]), known)
            hint = f": did you mean {close!r}?" if close else f" (there are: {', '.join(known)})"
            yield Fault(full, f"unknown key{hint if known else ''}")
        elif item["type"] == "missing":
            yield Fault(full, "is missing")
        else:
            given = item["input"]
            shown = f" (given: {given!r})" if isinstance(given, str | int | float | bool) else ""
            message = item["msg"].removeprefix("Value error, ").removeprefix("Input ")
            yield Fault(full, f"{message}{shown}")


def _fields_at(model: type[BaseModel], location: Iterable[Any]) -> list[str]:
    """Return the field names of the (nested) model at a location of an error."""
    current: Any = model
    for part in location:
        if isinstance(part, str) and isinstance(current, type) and issubclass(current, BaseModel):
            found = current.model_fields.get(part)
            current = _inner_model(found.annotation) if found else None
    if isinstance(current, type) and issubclass(current, BaseModel):
        return sorted(current.model_fields)
    return []


def _inner_model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        inner = _inner_model(argument)
        if inner is not None:
            return inner
    return None


def _instances(
    content: BenchmarkFile, registry: Registry, folder: Path, faults: list[Fault]
) -> tuple[dict[str, dict[str, Instance]], set[str]]:
    """Validate every instance, named or implied by a plugin's own name in the matrix.

    Returns:
        The instances by axis and name, and the paths of those that are at fault.
    """
    found: dict[str, dict[str, Instance]] = {axis: {} for axis in AXES}
    broken: set[str] = set()
    for axis, kind in AXES.items():
        tables: dict[str, dict[str, Any]] = getattr(content, axis)
        implied = [
            name
            for matrix in content.matrix
            for name in getattr(matrix, axis)
            if name not in tables and name in registry.names(kind)
        ]
        for name, table in {**tables, **{name: {} for name in implied}}.items():
            path = f"{axis}.{name}"
            if name == NONE and axis in _MAY_BE_NONE:
                faults.append(Fault(path, f"{NONE!r} is reserved: choose another name"))
                continue
            instance = _instance(axis, name, table, registry=registry, folder=folder, faults=faults)
            if instance is None:
                broken.add(path)
            else:
                found[axis][name] = instance
    return found, broken


def _instance(
    axis: str,
    name: str,
    table: Mapping[str, Any],
    *,
    registry: Registry,
    folder: Path,
    faults: list[Fault],
) -> Instance | None:
    path = f"{axis}.{name}"
    given = dict(table)
    plugin = given.pop("plugin", name)
    preset = given.pop("preset", None)
    if not isinstance(plugin, str):
        faults.append(Fault(f"{path}.plugin", "should be the name of a plugin"))
        return None
    try:
        registered = registry.find(AXES[axis], plugin)
    except PluginError as error:
        where = f"{path}.plugin" if "plugin" in table else path
        faults.append(Fault(where, str(error)))
        return None
    info = registered.info
    if preset is not None and preset not in info.presets:
        known = ", ".join(sorted(info.presets)) or "none"
        message = f"{info.name} has no preset {preset!r} (there are: {known})"
        faults.append(Fault(f"{path}.preset", message))
        return None
    merged = _merge(info.presets[preset], given) if preset is not None else given
    try:
        options = info.options.model_validate(merged, context={"base": folder})
    except ValidationError as error:
        faults.extend(pydantic_faults(error, info.options, path))
        return None
    return Instance(axis, name, registered, options)


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``base`` with the values of ``over``, table by table."""
    merged = dict(base)
    for key, value in over.items():
        before = merged.get(key)
        both = isinstance(before, Mapping) and isinstance(value, Mapping)
        merged[key] = _merge(before, value) if both else value  # type: ignore[arg-type]
    return merged


def _check_references(
    content: BenchmarkFile,
    instances: Mapping[str, Mapping[str, Instance]],
    broken: set[str],
    registry: Registry,
    faults: list[Fault],
) -> None:
    filters: list[tuple[str, BaseModel]] = []
    for index, matrix in enumerate(content.matrix):
        filters.append((f"matrix.{index}", matrix))
        filters += [(f"matrix.{index}.exclude.{i}", rule) for i, rule in enumerate(matrix.exclude)]
    for name, profile in content.profiles.items():
        filters.append((f"profiles.{name}", profile))
        filters += [(f"profiles.{name}.exclude.{i}", r) for i, r in enumerate(profile.exclude)]
    for path, table in filters:
        for axis, kind in AXES.items():
            allowed = set(instances[axis]) | ({NONE} if axis in _MAY_BE_NONE else set())
            for name in getattr(table, axis) or ():
                if name in allowed or f"{axis}.{name}" in broken:
                    continue
                declared = {path.split(".", 1)[1] for path in broken if path.startswith(axis)}
                close = nearest(name, allowed | declared | set(registry.names(kind)))
                hint = f": did you mean {close!r}?" if close else f": add [{axis}.{name}]"
                broken_plugins = "".join(f"; {failure}" for failure in registry.failures)
                message = f"no {kind} is called {name!r}{hint}{broken_plugins}"
                faults.append(Fault(f"{path}.{axis}", message))


def _profile(content: BenchmarkFile, name: str | None, faults: list[Fault]) -> Profile | None:
    if name is None:
        return None
    if name not in content.profiles:
        close = nearest(name, content.profiles)
        known = ", ".join(content.profiles) or "none"
        hint = f": did you mean {close!r}?" if close else f" (there are: {known})"
        faults.append(Fault("profiles", f"no profile is called {name!r}{hint}"))
        return None
    return content.profiles[name]


def _datasets(
    instances: Mapping[str, Mapping[str, Instance]],
    cells: Iterable[CellName],
    faults: list[Fault],
) -> tuple[dict[str, Dataset], dict[str, DatasetFacts]]:
    datasets: dict[str, Dataset] = {}
    facts: dict[str, DatasetFacts] = {}
    for name in dict.fromkeys(cell.dataset for cell in cells):
        instance = instances["datasets"].get(name)
        if instance is None:
            continue
        try:
            dataset: Dataset = instance.registered.implementation()(instance.options)
            facts[name] = dataset.facts()
        except (DataError, PluginError) as error:
            faults.append(Fault(instance.path, str(error)))
        else:
            datasets[name] = dataset
    return datasets, facts


def _check_combinations(
    instances: Mapping[str, Mapping[str, Instance]],
    facts: Mapping[str, DatasetFacts],
    cells: Iterable[CellName],
    faults: list[Fault],
) -> None:
    pairs = dict.fromkeys(
        (axis, name, cell.dataset)
        for cell in cells
        for axis, name in (
            ("attacks", cell.attack),
            ("methods", cell.method),
            ("defenses", cell.defense),
            ("evaluators", cell.evaluator),
        )
    )
    for axis, name, dataset in pairs:
        instance = instances[axis].get(name)
        if instance is None or dataset not in facts:
            continue
        faults.extend(
            Fault(instance.path, f"on data set {dataset!r}: {sentence}")
            for sentence in instance.options.faults(facts[dataset])
        )


def json_schema(registry: Registry) -> dict[str, Any]:
    """Return the JSON Schema of a benchmark file, with the installed plugins' options."""
    schema = BenchmarkFile.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "backbench benchmark file"
    definitions = schema.setdefault("$defs", {})
    for axis, kind in AXES.items():
        variants = []
        for name in registry.names(kind):
            try:
                info = registry.find(kind, name).info
            except PluginError:
                continue
            variants.append(_instance_schema(info, definitions))
        schema["properties"][axis] = {
            "type": "object",
            "description": f"named instances of {kind} plugins",
            "additionalProperties": {"anyOf": variants},
        }
    return schema


def _instance_schema(info: PluginInfo, definitions: dict[str, Any]) -> dict[str, Any]:
    prefix = f"{info.kind}.{info.name}."
    options = info.options.model_json_schema(ref_template=f"#/$defs/{prefix}{{model}}")
    for name, definition in options.pop("$defs", {}).items():
        definitions[prefix + name] = definition
    options["title"] = info.name
    options["description"] = info.summary
    properties = options.setdefault("properties", {})
    properties["plugin"] = {"const": info.name, "description": "name of the plugin"}
    if info.presets:
        properties["preset"] = {"enum": sorted(info.presets), "description": "named values"}
    return options
