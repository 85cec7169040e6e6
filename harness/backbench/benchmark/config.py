"""From ``benchmarks.toml`` to a validated benchmark: all problems at once, by TOML path."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from backbench.benchmark.claims import claim_problems
from backbench.benchmark.file import (
    BenchmarkFile,
    Claim,
    pydantic_problems,
)
from backbench.benchmark.instances import (
    Context,
    Instance,
    load_instance,
    open_dataset,
    protocol_of,
    raised,
    validate_instances,
)
from backbench.benchmark.protocols import Protocol, data_problems, method_problem, no_such_evaluator
from backbench.data.listing import FileDataset
from backbench.errors import NOT_A_NAME, ConfigError, Problem, is_name
from backbench.model import NONE, Axis, CellName
from backbench.options.training import BackboneOptions, EvaluatorOptions
from backbench.plugin import Dataset, DatasetMetadata, MetricInfo
from backbench.plugin.registry import Registry, nearest, suggestion
from backbench.system.toml import read_toml

__all__ = [
    "DEFAULT_FILE",
    "Benchmark",
    "Instance",
    "benchmark_from",
    "load_benchmark",
    "load_instance",
    "notes_on",
    "open_dataset",
]

DEFAULT_FILE = Path("benchmarks.toml")


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A validated benchmark.

    Args:
        source: The file it came from, as the user named it.
        name: Its name.
        instances: The instances that cells use, by axis and name.
        datasets: The dataset objects, by instance name.
        metadata: What is known of each dataset.
        cells: The cells, in the matrix's order, each once.
        protocol: The card that it follows, if any.
        claims: The findings that the file states.
    """

    source: str
    name: str
    instances: Mapping[str, Mapping[str, Instance]]
    datasets: Mapping[str, Dataset]
    metadata: Mapping[str, DatasetMetadata]
    cells: tuple[CellName, ...]
    protocol: Protocol | None = None
    claims: tuple[Claim, ...] = ()


def notes_on(benchmark: Benchmark, *, content: bool = False) -> Iterator[str]:
    """Yield what the user should know of the datasets.

    Args:
        benchmark: The benchmark.
        content: What their files' content shows, once it is hashed; else what they pass over.
    """
    for name, dataset in benchmark.datasets.items():
        if isinstance(dataset, FileDataset):
            notes = dataset.content_notes if content else dataset.listing.notes
            yield from (f"dataset {name!r}: {sentence}" for sentence in notes)


def load_benchmark(
    path: Path,
    registry: Registry,
    profile: str | None = None,
    *,
    every: bool = False,
    trains: bool = True,
) -> Benchmark:
    """Read and validate a benchmark file.

    Args:
        path: The TOML file.
        registry: The installed plugins.
        profile: Name of a profile of the file; the whole matrix if ``None``.
        every: Count the matrices that belong to profiles as well.
        trains: See :func:`benchmark_from`.

    Raises:
        ConfigError: With every problem of the file.
        UsageError: If the file cannot be read.
    """
    return benchmark_from(
        read_toml(path, "benchmark file"),
        source=str(path),
        folder=path.parent,
        registry=registry,
        profile=profile,
        every=every,
        trains=trains,
    )


def benchmark_from(
    tables: Mapping[str, Any],
    *,
    source: str,
    folder: Path,
    registry: Registry,
    profile: str | None = None,
    every: bool = False,
    trains: bool = True,
) -> Benchmark:
    """Validate the tables of a benchmark.

    Args:
        tables: What a benchmark file holds.
        source: Where they come from, for errors.
        folder: Where relative paths start.
        registry: The installed plugins.
        profile: Name of a profile of the tables; the whole matrix if ``None``.
        every: Count the matrices that belong to profiles as well.
        trains: Whether to check its methods and defenses against its datasets; no if an encoder
            from elsewhere is evaluated.

    Raises:
        ConfigError: With every problem of the tables.
    """
    problems: list[Problem] = []
    content = _parse(tables, problems)
    _check_names(content, problems)
    protocol, no_card = protocol_of(tables, problems)
    context = Context(registry, folder, protocol, no_card, problems)
    instances, broken = validate_instances(content, context)
    _check_references(content, instances, broken, context)
    lost = "profiles" in tables and not content.profiles  # at problem, and said
    if not lost:
        _check_profiles(content, profile, problems)
    problems += claim_problems(
        content, registry.names(MetricInfo.kind), matrix_is_right=not problems
    )
    cells = content.cells(profile, every=every)
    if not cells and not problems:
        problems.append(
            Problem("matrix", "no cell is left: exclude less, or choose another profile")
        )
    datasets, metadata = _datasets(instances, cells, problems)
    _check_combinations(instances, metadata, cells, problems, trains=trains)
    _check_encoders(instances, cells, problems)
    if protocol is not None:
        _check_protocol(protocol, instances, metadata, cells, problems)
    if problems:
        raise ConfigError(source, list(dict.fromkeys(problems)))
    return Benchmark(
        source=source,
        name=content.benchmark.name,
        instances=instances,
        datasets=datasets,
        metadata=metadata,
        cells=cells,
        protocol=protocol,
        claims=content.claims,
    )


def _parse(tables: Mapping[str, Any], problems: list[Problem]) -> BenchmarkFile:
    """Return the file's tables; of a file at problem those that are right, to say what else is."""
    try:
        return BenchmarkFile.model_validate(tables)
    except ValidationError as error:
        problems.extend(pydantic_problems(error, BenchmarkFile, ""))
    kept = {name: _right(name, table) for name, table in tables.items()}
    right: dict[str, Any] = {name: table for name, table in kept.items() if table is not None}
    return BenchmarkFile.model_construct(**{"matrix": (), **right})


def _right(name: str, table: Any) -> Any:
    """Return a table, of instances those that are tables; ``None`` if it is at problem."""
    if name in {axis.plural for axis in Axis} and isinstance(table, Mapping):
        table = {key: value for key, value in table.items() if isinstance(value, Mapping)}
    try:
        return getattr(BenchmarkFile.model_validate({**_LEAST, name: table}), name)
    except ValidationError:
        return None


#: What a benchmark file cannot do without.
_LEAST = {"matrix": [{"datasets": NONE, "methods": NONE, "evaluators": NONE}]}


def _check_names(content: BenchmarkFile, problems: list[Problem]) -> None:
    """Refuse names that a terminal would obey, or that no file can bear."""
    header = content.benchmark.name
    names = [("benchmark.name", header)] if not is_name(header) else []
    for axis in Axis:
        tables = getattr(content, axis.plural)
        names += [(axis.plural, name) for name in tables if not is_name(name)]
    names += [("profiles", name) for name in content.profiles if not is_name(name)]
    problems += [Problem(path, f"{name[:80]!a}: {NOT_A_NAME}") for path, name in names]


def _check_references(
    content: BenchmarkFile,
    instances: Mapping[str, Mapping[str, Instance]],
    broken: set[str],
    context: Context,
) -> None:
    registry = context.registry
    filters: list[tuple[str, BaseModel]] = []
    for index, matrix in enumerate(content.matrix):
        filters.append((f"matrix.{index}", matrix))
        filters += [(f"matrix.{index}.exclude.{i}", rule) for i, rule in enumerate(matrix.exclude)]
    for name, profile in content.profiles.items():
        filters.append((f"profiles.{name}", profile))
        filters += [(f"profiles.{name}.exclude.{i}", r) for i, r in enumerate(profile.exclude)]
    filters += [(f"claims.{i}.subject", claim.subject) for i, claim in enumerate(content.claims)]
    for path, table in filters:
        for axis, kind, optional in ((one.plural, one.kind, one.optional) for one in Axis):
            if axis == "evaluators" and context.lost:
                continue
            card = context.protocol if axis == "evaluators" else None
            allowed = set(instances[axis]) | ({NONE} if optional else set())
            for name in getattr(table, axis) or ():
                if name in allowed or f"{axis}.{name}" in broken:
                    continue
                if card:
                    sentence = no_such_evaluator(card, name)
                    sentence = sentence or f"no [[matrix]] has the evaluator {name!r}"
                    context.problems.append(Problem(f"{path}.{axis}", sentence))
                    continue
                declared = {path.split(".", 1)[1] for path in broken if path.startswith(axis)}
                close = nearest(name, allowed | declared | set(registry.names(kind)))
                hint = f": did you mean {close!r}?" if close else f": add [{axis}.{name}]"
                broken_plugins = "".join(f"; {failure}" for failure in registry.failures)
                message = f"no {kind} is called {name!r}{hint}{broken_plugins}"
                context.problems.append(Problem(f"{path}.{axis}", message))


def _check_profiles(content: BenchmarkFile, profile: str | None, problems: list[Problem]) -> None:
    if profile is not None and profile not in content.profiles:
        hint = suggestion(profile, content.profiles) or " (there are none)"
        problems.append(Problem("profiles", f"no profile is called {profile!r}{hint}"))
    for index, matrix in enumerate(content.matrix):
        for name in matrix.profiles or ():
            if name not in content.profiles:
                hint = suggestion(name, content.profiles) or f": add [profiles.{name}]"
                problems.append(
                    Problem(f"matrix.{index}.profiles", f"no profile is called {name!r}{hint}")
                )


def _datasets(
    instances: Mapping[str, Mapping[str, Instance]],
    cells: Iterable[CellName],
    problems: list[Problem],
) -> tuple[dict[str, Dataset], dict[str, DatasetMetadata]]:
    datasets: dict[str, Dataset] = {}
    metadata: dict[str, DatasetMetadata] = {}
    for name in dict.fromkeys(cell.dataset for cell in cells):
        instance = instances["datasets"].get(name)
        if instance is None:
            continue
        opened = open_dataset(instance, problems)
        if opened is not None:
            datasets[name], metadata[name] = opened
    return datasets, metadata


def _check_combinations(
    instances: Mapping[str, Mapping[str, Instance]],
    metadata: Mapping[str, DatasetMetadata],
    cells: Iterable[CellName],
    problems: list[Problem],
    *,
    trains: bool,
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
        if trains or axis not in {"methods", "defenses"}
    )
    for axis, name, dataset in pairs:
        instance = instances[axis].get(name)
        if instance is None or dataset not in metadata:
            continue
        sentences = _answers(instance, partial(instance.options.problems, metadata[dataset]))
        problems.extend(
            Problem(instance.path, f"on dataset {dataset!r}: {sentence}") for sentence in sentences
        )


def _check_encoders(
    instances: Mapping[str, Mapping[str, Instance]],
    cells: Iterable[CellName],
    problems: list[Problem],
) -> None:
    """Check that every evaluator can look through the encoders of the methods that it meets."""
    for name, method in dict.fromkeys((cell.evaluator, cell.method) for cell in cells):
        evaluator, trained = instances["evaluators"].get(name), instances["methods"].get(method)
        backbone = getattr(trained and trained.options, "backbone", None)
        if evaluator is None or not isinstance(backbone, BackboneOptions):
            continue
        options = evaluator.options
        if not isinstance(options, EvaluatorOptions):
            continue
        sentences = _answers(evaluator, partial(options.encoder_problems, backbone))
        problems.extend(
            Problem(evaluator.path, f"on method {method!r}: {sentence}") for sentence in sentences
        )


def _answers(instance: Instance, ask: Callable[[], Iterable[str]]) -> list[str]:
    """Return what an instance's options find wrong."""
    try:
        return list(ask())
    except Exception as error:  # noqa: BLE001 - whatever a stranger's code raises
        return [raised(instance.registered, error)]


def _check_protocol(
    protocol: Protocol,
    instances: Mapping[str, Mapping[str, Instance]],
    metadata: Mapping[str, DatasetMetadata],
    cells: Iterable[CellName],
    problems: list[Problem],
) -> None:
    """Check what only the whole benchmark shows: the datasets, and who evaluates whom."""
    for name, known in metadata.items():
        path = instances["datasets"][name].path
        problems.extend(Problem(path, sentence) for sentence in data_problems(protocol, known))
    pairs = dict.fromkeys((cell.evaluator, cell.method) for cell in cells)
    for evaluator, name in pairs:
        method = instances["methods"].get(name)
        if method is None or evaluator not in instances["evaluators"]:
            continue
        plugin = method.registered.info.name
        sentence = method_problem(protocol, evaluator, name, plugin)
        if sentence:
            problems.append(Problem(f"evaluators.{evaluator}", sentence))
