"""From a benchmark to a graph of stages in which nothing is done twice. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import cast

from backbench.config import Benchmark, Instance
from backbench.model import NONE, Cell, CellName, Plan, Stage, StageKind
from backbench.plugin import DefenseInfo, EvaluatorInfo


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
    planner = Planner(benchmark, fingerprints)
    cells = tuple(planner.cell(name) for name in benchmark.cells)
    return Plan(
        benchmark=benchmark.name,
        stages=planner.stages,
        cells=cells,
        protocol=benchmark.protocol.id if benchmark.protocol else "",
    )


class Planner:
    """Collects stages, each once, while cells are asked for.

    Args:
        benchmark: The validated benchmark.
        fingerprints: Content fingerprint of each data set, by instance name.

    Attributes:
        stages: Every distinct stage by key, each after those that it reads.
    """

    def __init__(self, benchmark: Benchmark, fingerprints: Mapping[str, str]) -> None:
        self._instances = benchmark.instances
        self._protocol = benchmark.protocol
        self._fingerprints = fingerprints
        self.stages: dict[str, Stage] = {}

    def cell(self, name: CellName) -> Cell:
        """Add the stages of a cell and of its control."""
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
        evaluator = self._instance("evaluators", name.evaluator)
        inputs = {"encoder": encoder, **data, **({"poison": poison} if poison else {})}
        if cast("EvaluatorInfo", evaluator.registered.info).reads == "features":
            inputs = self._features(name, trained_on, inputs, path)
        trigger = f" · trigger of {name.attack}" if poison else ""
        path.append(
            self._add(
                Stage(
                    kind=StageKind.EVALUATE,
                    plugin=evaluator.use(),
                    seed=name.seed,
                    inputs=inputs,
                    content=self._protocol.evaluate_content if self._protocol else "",
                    given={"protocol": self._protocol.stamp(name.evaluator)}
                    if self._protocol
                    else {},
                    label=f"evaluate {name.evaluator} · {_who(name, trained_on)}{trigger}",
                )
            )
        )
        return path

    def _features(
        self, name: CellName, trained_on: str, inputs: Mapping[str, str], path: list[str]
    ) -> dict[str, str]:
        """Add the stages that compute features for all evaluators; return their keys by role."""
        clean = {role: key for role, key in inputs.items() if role != "poison"}
        wanted = {"clean": (clean, "clean")}
        if "poison" in inputs:
            wanted["triggered"] = (dict(inputs), f"trigger of {name.attack}")
        found = {}
        for role, (read, what) in wanted.items():
            found[role] = self._add(
                Stage(
                    kind=StageKind.FEATURES,
                    plugin=None,
                    seed=None,
                    inputs=read,
                    label=f"features {_who(name, trained_on)} · {what}",
                )
            )
            path.append(found[role])
        return found

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
        self.stages.setdefault(key, replace(stage, given={**given, **stage.given}))
        return key


def _who(name: CellName, trained_on: str) -> str:
    defense = "" if name.defense == NONE else f" · {name.defense}"
    return f"{name.method} · {trained_on}{defense} · seed {name.seed}"
