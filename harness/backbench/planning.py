"""From a benchmark to a graph of stages in which nothing is done twice. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import cast

from backbench.config import Benchmark, Instance
from backbench.model import NONE, Cell, CellName, Plan, Stage, StageKind
from backbench.plugin import DefenseInfo


def make_plan(benchmark: Benchmark, fingerprints: Mapping[str, str]) -> Plan:
    """Plan a benchmark.

    Every cell is a path through a graph of stages; equal stages are shared. Each cell with an
    attack brings its control along, asked for or not: the same trigger, shown to the encoder
    that went through the same method, defense and seed on clean data.

    Args:
        benchmark: The validated benchmark.
        fingerprints: Content fingerprint of each data set, by instance name.

    Returns:
        The plan; its stages stand in an order in which they can run.
    """
    planner = _Planner(benchmark, fingerprints)
    cells = tuple(planner.cell(name) for name in benchmark.cells)
    return Plan(benchmark=benchmark.name, stages=planner.stages, cells=cells)


class _Planner:
    def __init__(self, benchmark: Benchmark, fingerprints: Mapping[str, str]) -> None:
        self._instances = benchmark.instances
        self._fingerprints = fingerprints
        self.stages: dict[str, Stage] = {}

    def cell(self, name: CellName) -> Cell:
        path = self._evaluation(name, trained_on=name.attack)
        control = None
        if name.attack != NONE:
            control = self._evaluation(name, trained_on=NONE)[-1]
        return Cell(name, tuple(dict.fromkeys(path)), control)

    def _evaluation(self, name: CellName, trained_on: str) -> list[str]:
        """Add the stages that evaluate one encoder under the cell's trigger; return their keys."""
        dataset_use = self._instance("datasets", name.dataset)
        dataset = self._add(
            Stage(
                kind=StageKind.DATASET,
                plugin=dataset_use.use(),
                seed=None,
                content=self._fingerprints[name.dataset],
                label=f"dataset {name.dataset}",
            )
        )
        path = [dataset]
        data = {"dataset": dataset}
        poison = None
        if name.attack != NONE:
            poison = self._add(
                Stage(
                    kind=StageKind.POISON,
                    plugin=self._instance("attacks", name.attack).use(),
                    seed=name.seed,
                    inputs=data,
                    label=f"poison {name.attack} · {name.dataset} · seed {name.seed}",
                )
            )
            path.append(poison)
        training = data | ({"poison": poison} if poison and trained_on != NONE else {})
        encoder = self._encoder(name, trained_on, training, path)
        clean = self._add(
            Stage(
                kind=StageKind.FEATURES,
                plugin=None,
                seed=None,
                inputs={"encoder": encoder, "dataset": dataset},
                label=f"features {_who(name, trained_on)} · clean",
            )
        )
        path.append(clean)
        inputs = {"clean": clean}
        if poison:
            triggered = self._add(
                Stage(
                    kind=StageKind.FEATURES,
                    plugin=None,
                    seed=None,
                    inputs={"encoder": encoder, "dataset": dataset, "poison": poison},
                    label=f"features {_who(name, trained_on)} · trigger of {name.attack}",
                )
            )
            path.append(triggered)
            inputs["triggered"] = triggered
        trigger = f" · trigger of {name.attack}" if poison else ""
        path.append(
            self._add(
                Stage(
                    kind=StageKind.EVALUATE,
                    plugin=self._instance("evaluators", name.evaluator).use(),
                    seed=name.seed,
                    inputs=inputs,
                    label=f"evaluate {name.evaluator} · {_who(name, trained_on)}{trigger}",
                )
            )
        )
        return path

    def _encoder(
        self, name: CellName, trained_on: str, training: Mapping[str, str], path: list[str]
    ) -> str:
        """Add the stages that make the cell's encoder; return the key of the last one."""
        method = self._instance("methods", name.method).use()
        encoder = self._add(
            Stage(
                kind=StageKind.PRETRAIN,
                plugin=method,
                seed=name.seed,
                inputs=training,
                label=f"pretrain {name.method} · {trained_on} · seed {name.seed}",
            )
        )
        path.append(encoder)
        if name.defense == NONE:
            return encoder
        defense = self._instance("defenses", name.defense)
        if cast("DefenseInfo", defense.registered.info).acts_on == "encoder":
            repaired = self._add(
                Stage(
                    kind=StageKind.REPAIR,
                    plugin=defense.use(),
                    seed=name.seed,
                    inputs={"encoder": encoder, "dataset": training["dataset"]},
                    label=f"repair {name.defense} · {name.method} · {trained_on} "
                    f"· seed {name.seed}",
                )
            )
            path.append(repaired)
            return repaired
        sanitized = self._add(
            Stage(
                kind=StageKind.SANITIZE,
                plugin=defense.use(),
                seed=name.seed,
                inputs={"encoder": encoder, **training},
                label=f"sanitize {name.defense} · {name.method} · {trained_on} · seed {name.seed}",
            )
        )
        retrained = self._add(
            Stage(
                kind=StageKind.PRETRAIN,
                plugin=method,
                seed=name.seed,
                inputs={**training, "sanitize": sanitized},
                label=f"pretrain {name.method} · {trained_on} after {name.defense} "
                f"· seed {name.seed}",
            )
        )
        path += [sanitized, retrained]
        return retrained

    def _instance(self, axis: str, name: str) -> Instance:
        return self._instances[axis][name]

    def _add(self, stage: Stage) -> str:
        key = stage.key
        uses = {role: self.stages[one].plugin for role, one in stage.inputs.items()}
        given = {role: use.options for role, use in uses.items() if use is not None}
        self.stages.setdefault(key, replace(stage, given=given))
        return key


def _who(name: CellName, trained_on: str) -> str:
    defense = "" if name.defense == NONE else f" · {name.defense}"
    return f"{name.method} · {trained_on}{defense} · seed {name.seed}"
