"""From ``benchmarks.toml`` to a validated benchmark: all faults at once, by TOML path."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from backbench.benchmark_file import (
    AXES,
    MAY_BE_NONE,
    BenchmarkFile,
    Profile,
    pydantic_faults,
)
from backbench.errors import ConfigError, DataError, Fault, PluginError, UsageError
from backbench.model import NONE, CellName, PluginUse
from backbench.plugin import Dataset, DatasetFacts, Options
from backbench.registry import Registered, Registry, nearest, suggestion

DEFAULT_FILE = Path("benchmarks.toml")


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
    instances, broken = _instances(content, registry, path.parent, faults)
    _check_references(content, instances, broken, registry, faults)
    lost = "profiles" in tables and not content.profiles  # at fault, and said
    chosen = None if lost else _profile(content, profile, faults)
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


def _parse(tables: Mapping[str, Any], faults: list[Fault]) -> BenchmarkFile:
    """Return the file's tables; of a file at fault those that are right, to say what else is."""
    try:
        return BenchmarkFile.model_validate(tables)
    except ValidationError as error:
        faults.extend(pydantic_faults(error, BenchmarkFile, ""))
    kept = {name: _right(name, table) for name, table in tables.items()}
    right: dict[str, Any] = {name: table for name, table in kept.items() if table is not None}
    return BenchmarkFile.model_construct(**{"matrix": (), **right})


def _right(name: str, table: Any) -> Any:
    """Return a table, of instances those that are tables; ``None`` if it is at fault."""
    if name in AXES and isinstance(table, Mapping):
        table = {key: value for key, value in table.items() if isinstance(value, Mapping)}
    try:
        return getattr(BenchmarkFile.model_validate({**_LEAST, name: table}), name)
    except ValidationError:
        return None


#: What a benchmark file cannot do without.
_LEAST = {"matrix": [{"datasets": NONE, "methods": NONE, "evaluators": NONE}]}


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
            if name == NONE and axis in MAY_BE_NONE:
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
    if preset is not None and (not isinstance(preset, str) or preset not in info.presets):
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
    retyped = list(_retyped(merged, options, path))
    if retyped:
        faults.extend(retyped)
        return None
    return Instance(axis, name, registered, options)


def _retyped(given: Any, value: Any, path: str) -> Iterator[Fault]:
    """Yield what pydantic has taken for a number that is none: ``"80"``, ``true``, ``3.0``."""
    if isinstance(given, Mapping):
        for name, part in given.items():
            inner = value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)
            yield from _retyped(part, inner, f"{path}.{name}")
    elif isinstance(given, list | tuple) and isinstance(value, list | tuple):
        for index, (part, inner) in enumerate(zip(given, value, strict=False)):
            yield from _retyped(part, inner, f"{path}.{index}")
    else:
        wrong = (
            (type(value) is bool and type(given) is not bool)
            or (type(value) is int and type(given) is not int)
            or (type(value) is float and type(given) not in {int, float})
        )
        if wrong:
            wanted = {bool: "true or false", int: "a whole number", float: "a number"}[type(value)]
            yield Fault(path, f"should be {wanted} (given: {given!r})")


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
            allowed = set(instances[axis]) | ({NONE} if axis in MAY_BE_NONE else set())
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
        hint = suggestion(name, content.profiles) or " (there are none)"
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
        except Exception as error:  # noqa: BLE001 - whatever a stranger's code raises
            faults.append(Fault(instance.path, _raised(instance.registered, error)))
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
        try:
            sentences = list(instance.options.faults(facts[dataset]))
        except Exception as error:  # noqa: BLE001 - whatever a stranger's code raises
            sentences = [_raised(instance.registered, error)]
        faults.extend(
            Fault(instance.path, f"on data set {dataset!r}: {sentence}") for sentence in sentences
        )


def _raised(registered: Registered, error: Exception) -> str:
    """Name the distribution whose code has raised."""
    return (
        f"{registered.info.kind} {registered.info.name!r} of {registered.origin} raised "
        f"{type(error).__name__}: {error}"
    )
