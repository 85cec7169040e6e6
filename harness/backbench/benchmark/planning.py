"""From a benchmark to a graph of stages in which nothing is done twice. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

from backbench.benchmark.config import Benchmark
from backbench.benchmark.instances import Instance
from backbench.data.fingerprint import FileHashes
from backbench.model import NONE, Axis, Cell, CellName, Plan, PluginUse, Stage, StageKind
from backbench.plugin import DefenseInfo, EvaluatorInfo
from backbench.store.store import Store


def plan_of(benchmark: Benchmark, store: Store, *, keep_hashes: bool) -> Plan:
    """Fingerprint the datasets of a benchmark and plan it."""
    return make_plan(benchmark, fingerprints_of(benchmark, store, keep_hashes=keep_hashes))


def fingerprints_of(
    benchmark: Benchmark,
    store: Store,
    *,
    keep_hashes: bool,
    only: str | None = None,
) -> dict[str, str]:
    """Return the content fingerprint of each dataset, by instance name."""
    hashes = FileHashes(store.files_cache)
    names = list(benchmark.datasets) if only is None else [only]
    found = {name: benchmark.datasets[name].fingerprint(hashes) for name in names}
    if keep_hashes:
        hashes.save()
    return found


#: Roles of what has a trigger.
_TRIGGERED = frozenset({"triggered", "poison"})


def make_plan(benchmark: Benchmark, fingerprints: Mapping[str, str]) -> Plan:
    """Plan a benchmark.

    Every cell is a path through a graph of stages; equal stages are shared. Each cell with an
    attack brings its control along, asked for or not: the same trigger, shown to the encoder
    that went through the same method, defense and seed on clean data.
    """
    return Planner(benchmark, fingerprints).plan(benchmark.cells)


class Planner:
    """Collects stages, each once, while cells are asked for.

    Most cells ask for stages that another one has asked for: what they have in common is made and
    hashed once, so that the time goes with the number of distinct stages.
    """

    def __init__(self, benchmark: Benchmark, fingerprints: Mapping[str, str]) -> None:
        self._name = benchmark.name
        self._instances = benchmark.instances
        self._protocol = benchmark.protocol
        self._fingerprints = fingerprints
        self._uses: dict[tuple[str, str], PluginUse] = {}
        self._keys: dict[tuple[Any, ...], tuple[str, PluginUse | None]] = {}
        self._encoders: dict[tuple[Any, ...], tuple[str, ...]] = {}
        self._feature_keys: dict[tuple[str, ...], dict[str, str]] = {}
        self.stages: dict[str, Stage] = {}

    def plan(self, names: Iterable[CellName]) -> Plan:
        """Return the plan of some cells; its stages are in an order in which they can run."""
        cells = tuple(self.cell(name) for name in names)
        return Plan(self._name, self.stages, cells, self._protocol.id if self._protocol else "")

    def cell(self, name: CellName) -> Cell:
        """Add the stages of a cell and of its control."""
        path = self._evaluation(name, trained_on=name.attack)
        control = None
        if name.attack != NONE:
            control = self._evaluation(name, trained_on=NONE)[-1]
        return Cell(name, tuple(dict.fromkeys(path)), control)

    def _evaluation(self, name: CellName, trained_on: str) -> list[str]:
        """Add the stages that evaluate one encoder under the cell's trigger; return their keys."""
        dataset = self._add(
            Stage(
                kind=StageKind.DATASET,
                plugin=self._use("datasets", name.dataset),
                seed=None,
                content=self._fingerprints[name.dataset],
                label=f"dataset {name.dataset}",
            )
        )
        path = [dataset]
        data = {"dataset": dataset}
        poison = None
        if name.attack != NONE:
            label = f"poison {name.attack} · {name.dataset} · seed {name.seed}"
            poison = self._seeded(StageKind.POISON, Axis.ATTACK, name, data, label=label)
            path.append(poison)
        training = data | ({"poison": poison} if poison and trained_on != NONE else {})
        encoder = self._encoder(name, trained_on, training, path)
        evaluator = self._instance("evaluators", name.evaluator)
        inputs = {"encoder": encoder, **data, **({"poison": poison} if poison else {})}
        if cast("EvaluatorInfo", evaluator.registered.info).reads == "features":
            inputs = self._features(name, trained_on, inputs, path)
        trigger = f" · trigger of {name.attack}" if poison else ""
        fit = self._fit(name, trained_on, inputs)
        stamp = {"protocol": self._protocol.stamp(name.evaluator)} if self._protocol else {}
        predictions = self._seeded(
            StageKind.PREDICT,
            Axis.EVALUATOR,
            name,
            {**inputs, "fit": fit},
            label=f"predict {name.evaluator} · {_who(name, trained_on)}{trigger}",
            given=stamp,
        )
        return [*path, fit, predictions]

    def _fit(self, name: CellName, trained_on: str, inputs: Mapping[str, str]) -> str:
        """Add the stage that fits a cell's evaluator on clean images; return its key."""
        clean = {role: key for role, key in inputs.items() if role not in _TRIGGERED}
        label = f"fit {name.evaluator} · {_who(name, trained_on)}"
        return self._seeded(StageKind.FIT, Axis.EVALUATOR, name, clean, label=label)

    def _features(
        self, name: CellName, trained_on: str, inputs: Mapping[str, str], path: list[str]
    ) -> dict[str, str]:
        """Add the stages that compute features for all evaluators; return their keys by role."""
        read = tuple(inputs.values())
        if read not in self._feature_keys:
            self._feature_keys[read] = self._new_features(name, trained_on, inputs)
        path += self._feature_keys[read].values()
        return self._feature_keys[read]

    def _new_features(
        self, name: CellName, trained_on: str, inputs: Mapping[str, str]
    ) -> dict[str, str]:
        clean = {role: key for role, key in inputs.items() if role != "poison"}
        wanted = {"clean": (clean, "clean")}
        if "poison" in inputs:
            wanted["triggered"] = (dict(inputs), f"trigger of {name.attack}")
        found = {}
        for role, (read, images) in wanted.items():
            label = f"features {_who(name, trained_on)} · {images}"
            stage = Stage(StageKind.FEATURES, plugin=None, seed=None, inputs=read, label=label)
            found[role] = self._add(stage)
        return found

    def _encoder(
        self, name: CellName, trained_on: str, training: Mapping[str, str], path: list[str]
    ) -> str:
        """Add the stages that make the cell's encoder; return the key of the last stage."""
        made = (name.dataset, name.method, name.defense, name.seed, trained_on)
        if made not in self._encoders:
            self._encoders[made] = tuple(self._new_encoder(name, trained_on, training))
        path += self._encoders[made]
        return path[-1]

    def _new_encoder(
        self, name: CellName, trained_on: str, training: Mapping[str, str]
    ) -> Iterator[str]:
        who = f"{name.method} · {trained_on}"
        label = f"pretrain {who} · seed {name.seed}"
        encoder = self._seeded(StageKind.PRETRAIN, Axis.METHOD, name, training, label=label)
        yield encoder
        if name.defense == NONE:
            return
        defense = self._instance("defenses", name.defense)
        if cast("DefenseInfo", defense.registered.info).acts_on == "encoder":
            inputs = {"encoder": encoder, "dataset": training["dataset"]}
            label = f"repair {name.defense} · {who} · seed {name.seed}"
            yield self._seeded(StageKind.REPAIR, Axis.DEFENSE, name, inputs, label=label)
            return
        inputs = {"encoder": encoder, **training}
        label = f"sanitize {name.defense} · {who} · seed {name.seed}"
        sanitized = self._seeded(StageKind.SANITIZE, Axis.DEFENSE, name, inputs, label=label)
        yield sanitized
        inputs = {**training, "sanitize": sanitized}
        label = f"pretrain {who} after {name.defense} · seed {name.seed}"
        yield self._seeded(StageKind.PRETRAIN, Axis.METHOD, name, inputs, label=label)

    def _instance(self, axis: str, name: str) -> Instance:
        return self._instances[axis][name]

    def _use(self, axis: str, name: str) -> PluginUse:
        if (axis, name) not in self._uses:
            self._uses[axis, name] = self._instance(axis, name).use()
        return self._uses[axis, name]

    def _seeded(
        self,
        kind: StageKind,
        axis: Axis,
        name: CellName,
        inputs: Mapping[str, str],
        *,
        label: str,
        given: Mapping[str, Any] | None = None,
    ) -> str:
        """Add the stage of a cell's plugin, which draws from the cell's seed; return its key."""
        plugin = self._use(axis.plural, getattr(name, axis))
        return self._add(
            Stage(kind, plugin, name.seed, inputs=inputs, label=label, given=given or {})
        )

    def _add(self, stage: Stage) -> str:
        """Add a stage unless it is there; return its key."""
        inputs = tuple(stage.inputs.items())
        asked = (stage.kind, id(stage.plugin), stage.seed, inputs, stage.content)
        known = self._keys.get(asked)
        if known is not None:
            return known[0]
        key = stage.key
        self._keys[asked] = key, stage.plugin  # which stays, so that no other gets its id
        uses = {role: self.stages[one].plugin for role, one in inputs}
        given = {role: use.options for role, use in uses.items() if use is not None}
        given.update(stage.given)
        self.stages.setdefault(
            key,
            Stage(
                stage.kind,
                stage.plugin,
                stage.seed,
                stage.inputs,
                stage.content,
                stage.label,
                given,
            ),
        )
        return key


def _who(name: CellName, trained_on: str) -> str:
    defense = "" if name.defense == NONE else f" · {name.defense}"
    return f"{name.method} · {trained_on}{defense} · seed {name.seed}"
