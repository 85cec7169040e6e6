"""From ``benchmarks.toml`` to a validated benchmark: all problems at once, by TOML path."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pydantic import BaseModel, ValidationError

from backbench.benchmark.changes import changed
from backbench.benchmark.claims import claim_problems
from backbench.benchmark.encoders import encoder_problems, open_encoders
from backbench.benchmark.file import HINTED, BenchmarkFile, Claim, pydantic_problems
from backbench.benchmark.instances import (
    Context,
    Instance,
    Instances,
    context_of,
    instances_off_axis,
    open_dataset,
    validate_instances,
)
from backbench.benchmark.matrix import Matrix, Profile
from backbench.benchmark.protocols.card import Protocol
from backbench.benchmark.protocols.rules import data_problems, method_problem, no_such_evaluator
from backbench.benchmark.sweeps import expanded
from backbench.benchmark.zoo import ZooOf
from backbench.errors import NOT_A_NAME, ConfigError, Problem, is_name
from backbench.external.imported import ExternalEncoder
from backbench.external.remembered import Remembered
from backbench.model import NONE, Axis, CellName
from backbench.options.training import (
    BackboneOptions,
    EvaluatorOptions,
    GuardOptions,
    SSLOptions,
    TrainingOptions,
)
from backbench.plugin import (
    AttackInfo,
    DatasetMetadata,
    DefenseInfo,
    EvaluatorInfo,
    ExecutorInfo,
    MetricInfo,
)
from backbench.plugin.calling import all_of, plugin_code
from backbench.plugin.infos import DEFENSE_SHAPES
from backbench.plugin.registry import Registry
from backbench.plugin.suggestions import nearest, suggestion
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
    problems += _name_problems(content)
    context = context_of(tables, registry, folder, problems)
    protocol = context.protocol
    instances, broken = validate_instances(content, context)
    broken |= zoo.broken
    observers = instances_off_axis(content, "observers", context)
    executors = instances_off_axis(content, "executors", context)
    problems += _executor_problems(content, registry)
    problems += _reference_problems(content, instances, broken, context)
    if content.profiles or "profiles" not in tables:  # else its problem is known
        problems += _profile_problems(content, profile)
    too_large = content.size_problem()
    problems += [too_large] if too_large else []
    right = not problems
    reporting = [name for kind in _REPORTING for name in registry.names(kind)]
    problems += claim_problems(
        content, registry.names(MetricInfo.kind), reporting, matrix_is_right=right
    )
    cells = () if too_large else content.cells(profile, every=every)
    if not cells and not problems:
        sentence = "no cell is left: exclude less, or choose another profile"
        problems.append(Problem("matrix", sentence))
    datasets: dict[str, Dataset] = {}
    metadata: dict[str, DatasetMetadata] = {}
    problems += _set_problems(instances, cells)
    attacked = dict.fromkeys(name for cell in cells for name in (cell.dataset, cell.evaluated))
    for name in attacked | dict.fromkeys(name for _, _, name in _named_sets(instances, cells)):
        instance = instances["datasets"].get(name)
        if instance is not None and (opened := open_dataset(instance, problems)):
            datasets[name], metadata[name] = opened
    problems += _label_problems(instances, metadata, cells)
    problems += _combination_problems(instances, metadata, cells, trains=trains)
    encoders, notes = open_encoders(
        content.encoders,
        folder,
        cells,
        metadata,
        problems,
        remembered=Remembered(store),
        quiet=zoo.origins,
    )
    encoders = zoo.checked(encoders, problems)
    problems += zoo.attack_problems(instances, cells)
    problems += encoder_problems(encoders, instances, cells, protocol, metadata)
    problems += _encoder_problems(instances, cells)
    problems += _guard_problems(instances, cells) if trains else ()
    problems += _shape_problems(instances, cells)
    problems += _backbone_problems(instances, metadata, cells) if trains else ()
    if protocol is not None:
        own = {name: known for name, known in metadata.items() if name in attacked}
        problems += _protocol_problems(protocol, instances, own, cells)
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


#: Kinds of plugins that may report numbers of their own.
_REPORTING = (AttackInfo.kind, DefenseInfo.kind, EvaluatorInfo.kind)

#: Tables without which there is no benchmark.
_LEAST = {"matrix": [{"datasets": NONE, "methods": NONE, "evaluators": NONE}]}


def _name_problems(content: BenchmarkFile) -> Iterator[Problem]:
    """Refuse names that a terminal would obey, or that no file can bear."""
    names = [("benchmark.name", content.benchmark.name)]
    for axis in Axis.with_tables():
        names += [(axis.plural, name) for name in getattr(content, axis.plural)]
    names += [("profiles", name) for name in content.profiles]
    names += [("encoders", name) for name in content.encoders]
    names += [("observers", name) for name in content.observers]
    names += [("executors", name) for name in content.executors]
    for path, name in names:
        if not is_name(name):
            yield Problem(path, f"{name[:80]!a}: {NOT_A_NAME}")
    for name in content.encoders.keys() & content.methods.keys():
        sentence = f"{name!r} is the name of a method, too: choose another name"
        yield Problem(f"encoders.{name}", sentence)


def _executor_problems(content: BenchmarkFile, registry: Registry) -> Iterator[Problem]:
    """Yield a problem if no executor has the name of the file's."""
    name, known = content.benchmark.executor, registry.names(ExecutorInfo.kind)
    if name not in content.executors and name not in known:
        hint = suggestion(name, [*content.executors, *known])
        yield Problem("benchmark.executor", f"no executor is called {name!r}{hint}")


def _reference_problems(
    content: BenchmarkFile, instances: Instances, broken: set[str], context: Context
) -> Iterator[Problem]:
    """Yield the names in matrices, profiles and claims that no instance has."""
    unknown = 0
    for (path, table), axis in itertools.product(_filters(content), Axis):
        if axis is Axis.EVALUATOR and context.lost:
            continue
        card = context.protocol if axis is Axis.EVALUATOR else None
        allowed = {*instances[axis.tables], *([NONE] if axis.optional else [])}
        allowed |= context.encoders if axis is Axis.METHOD else set()
        given = getattr(table, axis.plural) or ()
        for name in (part for one in given for part in _parts(axis, one)):
            if name in allowed or f"{axis.tables}.{name}" in broken:
                continue
            if card:
                sentence = no_such_evaluator(card, name)
                sentence = sentence or f"no [[matrix]] has the evaluator {name!r}"
            else:
                declared = {one.split(".", 1)[1] for one in broken if one.startswith(axis.tables)}
                installed = context.registry.names(axis.kind)
                unknown += 1
                known = allowed | declared | set(installed)
                close = nearest(name, known) if unknown <= HINTED else None
                hint = f": did you mean {close!r}?" if close else f": add [{axis.tables}.{name}]"
                failures = "".join(f"; {failure}" for failure in context.registry.failures)
                sentence = f"no {axis.kind} is called {name!r}{hint}{failures}"
            yield Problem(f"{path}.{axis.plural}", sentence)


def _filters(content: BenchmarkFile) -> Iterator[tuple[str, BaseModel]]:
    """Yield all tables that name instances, each with its TOML path."""
    tables: list[tuple[str, Matrix | Profile]] = [
        *((f"matrix.{index}", matrix) for index, matrix in enumerate(content.matrix)),
        *((f"profiles.{name}", profile) for name, profile in content.profiles.items()),
    ]
    for path, table in tables:
        yield path, table
        yield from ((f"{path}.exclude.{i}", rule) for i, rule in enumerate(table.exclude))
    for index, claim in enumerate(content.claims):
        yield f"claims.{index}.subject", claim.subject


def _profile_problems(content: BenchmarkFile, profile: str | None) -> Iterator[Problem]:
    if profile is not None and profile not in content.profiles:
        hint = suggestion(profile, content.profiles) or " (there are none)"
        yield Problem("profiles", f"no profile is called {profile!r}{hint}")
    for index, matrix in enumerate(content.matrix):
        for name in matrix.profiles or ():
            if name not in content.profiles:
                hint = suggestion(name, content.profiles) or f": add [profiles.{name}]"
                yield Problem(f"matrix.{index}.profiles", f"no profile is called {name!r}{hint}")


def _named_sets(
    instances: Instances, cells: Iterable[CellName]
) -> Iterator[tuple[Instance, str, str]]:
    """Yield the options of attacks that name datasets: the attack, the option, the dataset."""
    for name in dict.fromkeys(cell.attack for cell in cells):
        attack = instances["attacks"].get(name)
        if attack is not None:
            for option, named in attack.options.sets().items():
                if isinstance(named, str):
                    yield attack, option, named


def _set_problems(instances: Instances, cells: Iterable[CellName]) -> Iterator[Problem]:
    """Yield the datasets that attacks name and that are not there."""
    known = instances["datasets"]
    for attack, option, named in _named_sets(instances, cells):
        if named not in known:
            hint = suggestion(named, known) or f": add [datasets.{named}]"
            sentence = f"no dataset is called {named!r}{hint}"
            yield Problem(f"{attack.path}.{option}", sentence)


def _combination_problems(
    instances: Instances,
    metadata: Mapping[str, DatasetMetadata],
    cells: Iterable[CellName],
    *,
    trains: bool,
) -> Iterator[Problem]:
    """Yield the instances that do not work on the datasets that they meet."""
    pairs = [
        (axis, part, dataset)
        for cell in cells
        for axis, dataset in _meetings(instances, cell, trains=trains)
        for part in axis.parts(getattr(cell, axis))
    ]
    for axis, name, dataset in dict.fromkeys(pairs):
        instance = instances[axis.plural].get(name)
        known = metadata.get(dataset)
        if axis is Axis.EVALUATOR and known and not known.labelled:
            continue  # the dataset's own problem
        if instance is not None and known:
            for sentence in instance.problems(instance.options.problems, known):
                yield Problem(instance.path, f"on dataset {dataset!r}: {sentence}")


def _label_problems(
    instances: Instances, metadata: Mapping[str, DatasetMetadata], cells: Iterable[CellName]
) -> Iterator[Problem]:
    """Yield the datasets without labels on which encoders would be evaluated."""
    for name in dict.fromkeys(cell.evaluated for cell in cells):
        if name in metadata and not metadata[name].labelled:
            sentence = (
                "has no labels: name the datasets on which its encoders are evaluated, "
                'downstreams = ["…"], in the [[matrix]]'
            )
            yield Problem(instances["datasets"][name].path, sentence)


def _meetings(instances: Instances, cell: CellName, *, trains: bool) -> Iterator[tuple[Axis, str]]:
    """Yield the datasets that the instances of a cell meet, each by the axis of the instance."""
    if trains:
        yield from ((axis, cell.dataset) for axis in (Axis.METHOD, Axis.DEFENSE))
    attack = instances["attacks"].get(cell.attack)
    if attack and cast("AttackInfo", attack.registered.info).acts_on == "dataset":
        yield Axis.ATTACK, cell.dataset
    yield from ((axis, cell.evaluated) for axis in (Axis.ATTACK, Axis.EVALUATOR))


def _encoder_problems(instances: Instances, cells: Iterable[CellName]) -> Iterator[Problem]:
    """Yield the evaluators that cannot look through the encoders of the methods that they meet."""
    for name, method in dict.fromkeys((cell.evaluator, cell.method) for cell in cells):
        evaluator, trained = instances["evaluators"].get(name), instances["methods"].get(method)
        backbone = getattr(trained and trained.options, "backbone", None)
        if evaluator is None or not isinstance(backbone, BackboneOptions):
            continue
        if isinstance(evaluator.options, EvaluatorOptions):
            for sentence in evaluator.problems(evaluator.options.encoder_problems, backbone):
                yield Problem(evaluator.path, f"on method {method!r}: {sentence}")


def _guard_problems(instances: Instances, cells: Iterable[CellName]) -> Iterator[Problem]:
    """Yield the defenses of the training that cannot wrap the methods that they meet."""
    met = dict.fromkeys(
        (part, cell.method) for cell in cells for part in Axis.DEFENSE.parts(cell.defense)
    )
    for name, method in met:
        defense, trained = instances["defenses"].get(name), instances["methods"].get(method)
        if defense is None or trained is None or not isinstance(defense.options, GuardOptions):
            continue
        if isinstance(trained.options, SSLOptions):
            for sentence in defense.problems(defense.options.method_problems, trained.options):
                yield Problem(defense.path, f"on method {method!r}: {sentence}")


def _shape_problems(instances: Instances, cells: Iterable[CellName]) -> Iterator[Problem]:
    """Yield the defenses that act on another thing than the attacks, or than their chain allows."""
    met = dict.fromkeys((cell.attack, cell.defense) for cell in cells)
    for chain in dict.fromkeys(defense for _, defense in met):
        yield from _chain_problems(instances, chain)
    for attack, defense in dict.fromkeys(
        (attack, part) for attack, chain in met for part in Axis.DEFENSE.parts(chain)
    ):
        one, other = instances["attacks"].get(attack), instances["defenses"].get(defense)
        if one is None or other is None:
            continue
        acts_on = cast("AttackInfo", one.registered.info).acts_on
        if acts_on == "encoder" and "dataset" in _shapes(other):
            sentence = (
                f"on attack {attack!r}: the attack changes the encoder and poisons no image, so "
                "that there is nothing to drop from the training set: exclude these cells"
            )
            yield Problem(other.path, sentence)


def _chain_problems(instances: Instances, chain: str) -> Iterator[Problem]:
    """Yield why the defenses of a chain cannot act after each other."""
    names = Axis.DEFENSE.parts(chain)
    acting = [(name, one) for name in names if (one := instances["defenses"].get(name))]
    for shape in DEFENSE_SHAPES:
        several = [name for name, one in acting if shape in _shapes(one)]
        if len(several) > 1:
            sentence = (
                f"{chain!r}: {' and '.join(several)} both act on the {shape}, so that their order "
                "does not follow from what they act on: chain defenses that act on different things"
            )
            yield Problem("matrix", sentence)
    if len(names) > 1 and NONE in names:
        yield Problem("matrix", f"{chain!r}: leave {NONE!r} out of the chain")


def _shapes(defense: Instance) -> tuple[str, ...]:
    return cast("DefenseInfo", defense.registered.info).shapes


def _parts(axis: Axis, name: object) -> tuple[str, ...]:
    return axis.parts(name) if isinstance(name, str) else ()


def _backbone_problems(
    instances: Instances, metadata: Mapping[str, DatasetMetadata], cells: Iterable[CellName]
) -> Iterator[Problem]:
    """Yield models of timm and plugins' backbones that cannot be built, or see the images.

    It imports torch for them.
    """
    met = [
        (one.method, by, one.dataset)
        for one in cells
        for by in (one.method, *Axis.DEFENSE.parts(one.defense))
    ]
    for name, by, dataset in dict.fromkeys(met):
        method = instances["methods"].get(name)
        instance = method if by == name else instances["defenses"].get(by)
        backbone = getattr(instance and instance.options, "backbone", None)
        if not isinstance(backbone, BackboneOptions) or backbone.has_stages:
            continue
        if instance and method and dataset in metadata:
            from backbench.nn.backbones import backbone_problem

            side = cast("TrainingOptions", method.options).view_side(metadata[dataset].size)
            if sentence := backbone_problem(backbone, side):
                path = f"{instance.path}.backbone.name"
                yield Problem(path, f"on dataset {dataset!r}: {sentence}")


def _protocol_problems(
    protocol: Protocol,
    instances: Instances,
    metadata: Mapping[str, DatasetMetadata],
    cells: Iterable[CellName],
) -> Iterator[Problem]:
    """Yield what only the whole benchmark shows: the datasets, and who evaluates whom."""
    for name, known in metadata.items():
        path = instances["datasets"][name].path
        yield from (Problem(path, sentence) for sentence in data_problems(protocol, known))
    for evaluator, name in dict.fromkeys((cell.evaluator, cell.method) for cell in cells):
        method = instances["methods"].get(name)
        if method is not None and evaluator in instances["evaluators"]:
            sentence = method_problem(protocol, evaluator, name, method.registered.info.name)
            if sentence:
                yield Problem(f"evaluators.{evaluator}", sentence)
