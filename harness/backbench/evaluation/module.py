"""The evaluation of a module in memory: its benchmark, made of names, and its plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backbench.benchmark.config import Benchmark
from backbench.benchmark.instances import Instance, load_instance, open_dataset
from backbench.benchmark.planning import fingerprints_of
from backbench.benchmark.protocols.card import find_protocol
from backbench.benchmark.protocols.rules import data_problems
from backbench.errors import ConfigError, Problem, UsageError
from backbench.evaluation.import_plan import Choice, choose, plan_import
from backbench.external.encoder_options import ModuleOptions
from backbench.external.imported import Imported
from backbench.model import NONE, CellName, Plan
from backbench.options.views import image_side
from backbench.plugin import DatasetInfo, EvaluatorInfo
from backbench.plugin.registry import Registry
from backbench.store.store import Store
from backbench.system.arithmetic import standard_arithmetic
from backbench.system.files import PathLike

if TYPE_CHECKING:
    from torch.nn import Module

    from backbench.nn import Encoder

#: Types in which a name, or a table of a benchmark file by name, may be given.
Named = Iterable[str] | Mapping[str, Mapping[str, Any]]

#: The evaluators where neither a protocol nor the caller names any.
_EVALUATORS = ("knn", "linear")


def module_benchmark(
    registry: Registry,
    *,
    dataset: PathLike | Mapping[str, Any],
    protocol: str | None = None,
    attacks: Named = (),
    evaluators: Named = (),
    seed: int = 0,
) -> tuple[Benchmark, Choice]:
    """Return a benchmark of one dataset, and the choice of all; see :func:`backbench.evaluate`."""
    card = find_protocol(protocol) if protocol is not None else None
    own = [name for name, one in card.evaluators.items() if not one.methods] if card else []
    name, table = _dataset(dataset, registry)
    given = {
        "datasets": {name: table},
        "attacks": _tables(attacks),
        "evaluators": _tables(evaluators) or _tables(own or _EVALUATORS),
    }
    tables = {**given, "benchmark": {} if protocol is None else {"protocol": protocol}}
    problems: list[Problem] = []
    instances: dict[str, dict[str, Instance]] = {"methods": {}, "defenses": {}}
    for axis, named in given.items():
        found = {
            one: load_instance(
                tables, axis, one, registry=registry, folder=Path.cwd(), problems=problems
            )
            for one in named
        }
        instances[axis] = {one: made for one, made in found.items() if made is not None}
    opened = open_dataset(instances["datasets"][name], problems) if not problems else None
    if opened is not None and card is not None:
        problems += [Problem(f"datasets.{name}", one) for one in data_problems(card, opened[1])]
    if problems or opened is None:
        raise ConfigError("evaluate()", list(dict.fromkeys(problems)))
    for one, instance in instances["evaluators"].items():
        info = instance.registered.info
        if isinstance(info, EvaluatorInfo) and info.reads != "features":
            raise UsageError(f"evaluator {one!r} reads images: a module is known by its features")
    benchmark = Benchmark(
        source="evaluate()",
        name="evaluate",
        instances=instances,
        datasets={name: opened[0]},
        metadata={name: opened[1]},
        cells=tuple(
            CellName(name, attack, "encoder", NONE, evaluator, seed)
            for attack in instances["attacks"] or (NONE,)
            for evaluator in instances["evaluators"]
        ),
        protocol=card,
    )
    return benchmark, choose(benchmark, attacks=tuple(instances["attacks"]))


def module_plan(
    benchmark: Benchmark,
    choice: Choice,
    store: Store,
    encoder: Module,
    *,
    control: Module | None = None,
    image_size: int | None = None,
    name: str | None = None,
) -> tuple[Plan, dict[str, Encoder]]:
    """Plan the evaluation of modules in memory; return each import stage's encoder by key too.

    Raises:
        UsageError: If a module does not map images to features, or is called at another size than
            the protocol's.
    """
    side = image_side(benchmark.metadata[choice.dataset].size, None)
    if benchmark.protocol is not None and image_size not in {None, side}:
        raise UsageError(f"image_size = {image_size}: protocol {benchmark.protocol.id} has {side}")
    encoders: dict[str, Encoder] = {}

    def imported(module: Module) -> Imported[ModuleOptions]:
        from backbench.nn.encoder import Encoder
        from backbench.nn.module_encoder import ModuleEncoder, fingerprint

        size = module.spec.image_size if isinstance(module, Encoder) else image_size or side
        made = module if isinstance(module, Encoder) else ModuleEncoder(module, size)
        options = ModuleOptions(name=type(module).__name__, image_size=size)
        with standard_arithmetic():
            found = Imported(options, fingerprint(module, size))
        encoders[found.stage().key] = made
        return found

    plan = plan_import(
        benchmark,
        fingerprints_of(benchmark, store, keep_hashes=store.exists),
        choice,
        name or type(encoder).__name__,
        imported(encoder),
        control=imported(control) if control is not None else None,
    )
    return plan, encoders


def _dataset(
    dataset: PathLike | Mapping[str, Any], registry: Registry
) -> tuple[str, dict[str, Any]]:
    """Return the name of a dataset and its table."""
    if isinstance(dataset, Mapping):
        return str(dataset.get("plugin", "dataset")), dict(dataset)
    if dataset in registry.names(DatasetInfo.kind):
        return str(dataset), {"plugin": str(dataset)}
    folder = Path(dataset)
    if not folder.is_dir():
        names = ", ".join(registry.names(DatasetInfo.kind))
        raise UsageError(f"dataset {str(dataset)!r}: neither a folder nor a plugin: {names}")
    return folder.resolve().name, {"plugin": "image-folder", "root": str(folder.resolve())}


def _tables(named: Named) -> dict[str, dict[str, Any]]:
    if isinstance(named, Mapping):
        return {name: dict(table) for name, table in named.items()}
    return {name: {} for name in ([named] if isinstance(named, str) else named)}
