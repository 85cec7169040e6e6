"""From ``benchmarks.toml`` to a validated benchmark: all problems at once, by TOML path."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from backbench.benchmark.changes import changed
from backbench.benchmark.claims import claim_problems
from backbench.benchmark.combinations import dataset_problems, pair_problems, protocol_problems
from backbench.benchmark.encoders import encoder_problems, open_encoders
from backbench.benchmark.file import BenchmarkFile, Claim, pydantic_problems
from backbench.benchmark.instances import (
    Instance,
    Instances,
    context_of,
    instances_off_axis,
    open_dataset,
    validate_instances,
)
from backbench.benchmark.protocols.card import Protocol
from backbench.benchmark.references import (
    executor_problems,
    name_problems,
    named_sets,
    profile_problems,
    reference_problems,
    set_problems,
)
from backbench.benchmark.sweeps import expanded
from backbench.benchmark.zoo import ZooOf
from backbench.errors import ConfigError, Problem
from backbench.external.imported import ExternalEncoder
from backbench.external.remembered import Remembered
from backbench.model import NONE, Axis, CellName
from backbench.plugin import AttackInfo, DatasetMetadata, DefenseInfo, EvaluatorInfo, MetricInfo
from backbench.plugin.calling import all_of, plugin_code
from backbench.plugin.registry import Registry
from backbench.system.toml import read_toml

if TYPE_CHECKING:
    from backbench.plugin import Dataset


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A validated benchmark.

    Args:
        source: The file it came from, as the user named it.
        name: Its name.
        instances: The instances that cells use, by axis and name.
        datasets: The dataset objects, by instance name, and so are their ``metadata``.
        cells: The cells, in the matrix's order, each once.
        protocol: The card that it follows, if any.
        claims: The findings that the file states.
        stage_timeout_s: Seconds after which a stage is ended, if any.
        stage_memory_gib: Memory at which a stage is ended, if any.
        changes: Values of the file that were changed; see :func:`.changed`.
        encoders: The encoders from elsewhere that its cells name in place of a method.
        encoder_notes: Sentences on what was taken of their files.
        observers: Who watches a run, by name.
        executor: Name of the executor that its runs use, if they name no other.
        executors: The executors that have a table, by name.
    """

    source: str
    name: str
    instances: Instances
    datasets: Mapping[str, Dataset]
    metadata: Mapping[str, DatasetMetadata]
    cells: tuple[CellName, ...]
    protocol: Protocol | None = None
    claims: tuple[Claim, ...] = ()
    stage_timeout_s: float | None = None
    stage_memory_gib: float | None = None
    changes: tuple[str, ...] = ()
    encoders: Mapping[str, ExternalEncoder] = field(default_factory=dict)
    encoder_notes: tuple[str, ...] = ()
    observers: Mapping[str, Instance] = field(default_factory=dict)
    executor: str = "local"
    executors: Mapping[str, Instance] = field(default_factory=dict)


def notes_on(benchmark: Benchmark, *, content: bool = False) -> Iterator[str]:
    """Yield notes on datasets: what their files pass over, or what the hashed content shows."""
    for name, dataset in benchmark.datasets.items():
        registered = benchmark.instances["datasets"][name].registered
        with plugin_code(registered):
            notes = all_of(dataset.notes(content=content), registered)
        yield from (f"dataset {name!r}: {sentence}" for sentence in notes)
    if not content:
        yield from benchmark.encoder_notes


def load_benchmark(
    path: Path,
    registry: Registry,
    profile: str | None = None,
    *,
    changes: Iterable[str] = (),
    every: bool = False,
    trains: bool = True,
    store: Path | None = None,
) -> Benchmark:
    """Read and validate a benchmark file; see :func:`benchmark_from`.

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
        changes=changes,
        every=every,
        trains=trains,
        store=store,
    )


def benchmark_from(
    tables: Mapping[str, Any],
    *,
    source: str,
    folder: Path,
    registry: Registry,
    profile: str | None = None,
    changes: Iterable[str] = (),
    every: bool = False,
    trains: bool = True,
    store: Path | None = None,
) -> Benchmark:
    """Validate the tables of a benchmark file.

    Args:
        tables: The file's content.
        source: Where the tables come from, for errors.
        folder: Where relative paths start.
        registry: The installed plugins.
        profile: As of :meth:`BenchmarkFile.cells`, and so is ``every``.
        changes: Values that replace some of the file; see :func:`.changed`.
        every: Count the matrices that belong to profiles as well.
        trains: Whether to check its methods and defenses against its datasets; no if an encoder
            from elsewhere is evaluated.
        store: Folder that remembers what files of weights are, if it is there.

    Raises:
        ConfigError: With every problem of the tables.
    """
    problems: list[Problem] = []
    changes = tuple(changes)
    zoo = ZooOf(changed(tables, changes, problems), folder, problems)
    tables = expanded(zoo.tables, problems, zoo.groups)
    content = _parse(tables, problems).with_origins(zoo.origins)
    problems += name_problems(content)
    context = context_of(tables, registry, folder, problems)
    protocol = context.protocol
    instances, broken = validate_instances(content, context)
    broken |= zoo.broken
    observers = instances_off_axis(content, "observers", context)
    executors = instances_off_axis(content, "executors", context)
    problems += executor_problems(content, registry)
    problems += reference_problems(content, instances, broken, context)
    if content.profiles or "profiles" not in tables:  # else its problem is known
        problems += profile_problems(content, profile)
    too_large = content.size_problem()
    problems += [too_large] if too_large else []
    problems += claim_problems(
        content,
        registry.names(MetricInfo.kind),
        [name for kind in _REPORTING for name in registry.names(kind)],
        matrix_is_right=not problems,
    )
    cells = () if too_large else content.cells(profile, every=every)
    if not cells and not problems:
        sentence = "no cell is left: exclude less, or choose another profile"
        problems.append(Problem("matrix", sentence))
    met = tuple({_but_seed(cell): cell for cell in cells}.values())  # no check reads the seed
    problems += set_problems(instances, met)
    attacked = dict.fromkeys(name for cell in met for name in (cell.dataset, cell.evaluated))
    named = dict.fromkeys(name for _, _, name in named_sets(instances, met))
    datasets, metadata = _opened(instances, attacked | named, problems)
    problems += dataset_problems(instances, datasets, metadata, met, trains=trains)
    encoders, notes = open_encoders(
        content.encoders,
        folder,
        met,
        metadata,
        problems,
        remembered=Remembered(store),
        quiet=zoo.origins,
    )
    encoders = zoo.checked(encoders, problems)
    problems += zoo.attack_problems(instances, met)
    problems += encoder_problems(encoders, instances, met, protocol, metadata)
    problems += pair_problems(instances, metadata, met, trains=trains)
    if protocol is not None:
        own = {name: known for name, known in metadata.items() if name in attacked}
        problems += protocol_problems(protocol, instances, own, met)
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
        stage_timeout_s=content.benchmark.stage_timeout_s,
        stage_memory_gib=content.benchmark.stage_memory_gib,
        changes=changes,
        encoders=encoders,
        encoder_notes=(*zoo.notes(cells), *notes),
        observers=observers,
        executor=content.benchmark.executor,
        executors=executors,
    )


def _opened(
    instances: Instances, names: Iterable[str], problems: list[Problem]
) -> tuple[dict[str, Dataset], dict[str, DatasetMetadata]]:
    """Open datasets by name; return those that can be, and their metadata."""
    datasets: dict[str, Dataset] = {}
    metadata: dict[str, DatasetMetadata] = {}
    for name in names:
        instance = instances["datasets"].get(name)
        if instance is not None and (opened := open_dataset(instance, problems)):
            datasets[name], metadata[name] = opened
    return datasets, metadata


def _parse(tables: Mapping[str, Any], problems: list[Problem]) -> BenchmarkFile:
    """Return a file's tables; where some are wrong the others, to find their problems, too."""
    try:
        return BenchmarkFile.model_validate(tables)
    except ValidationError as error:
        problems.extend(pydantic_problems(error, BenchmarkFile, ""))
    right: dict[str, Any] = {}
    for name, given in tables.items():
        if name not in BenchmarkFile.model_fields:
            continue
        table = given
        if name in {axis.tables for axis in Axis} and isinstance(given, Mapping):
            table = {key: value for key, value in given.items() if isinstance(value, Mapping)}
        with suppress(ValidationError):
            right[name] = getattr(BenchmarkFile.model_validate({**_LEAST, name: table}), name)
    return BenchmarkFile.model_construct(**{"matrix": (), **right})


#: What names a cell, without its seed.
_but_seed = attrgetter(*(axis.value for axis in Axis))

#: Kinds of plugins that may report numbers of their own.
_REPORTING = (AttackInfo.kind, DefenseInfo.kind, EvaluatorInfo.kind)

#: Tables without which there is no benchmark.
_LEAST = {"matrix": [{"datasets": NONE, "methods": NONE, "evaluators": NONE}]}
