"""Check that the stages of a plan's cells, and of their controls, are what the cells claim."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from backbench.model import NONE, Cell, Plan, Stage, StageKind

#: Most stages that lead to one; more than a dozen have no meaning.
_MOST_STAGES: Final = 100


def plan_differences(plan: Plan) -> Iterator[str]:
    """Check that each cell's stages are the cell's, and that its control is one."""
    leads_to: dict[str, set[str]] = {}
    for key, stage in plan.stages.items():
        leads_to[key] = {key}
        for role, read in stage.inputs.items():
            if read not in leads_to:
                yield f"stage {key} reads the {role} {read}, which is not before it in the plan"
                return
            leads_to[key] |= leads_to[read]
        if len(leads_to[key]) > _MOST_STAGES:
            yield f"stage {key} needs more than {_MOST_STAGES} stages before it"
            return
    for cell in plan.cells:
        for key in (*cell.path, *cell.own, *cell.controls):
            if key not in plan.stages:
                yield f"{_who(cell)}: its stage {key} is not in the plan"
                return
        yield from _cell_differences(plan, cell)
        yield from _detection_differences(plan, cell)
        yield from _inspection_differences(plan, cell)


#: Kinds of stages that see validation images.
_SHOWS = frozenset({StageKind.FEATURES, StageKind.PREDICT})


def _cell_differences(plan: Plan, cell: Cell) -> Iterator[str]:
    who, stages = _who(cell), plan.stages
    path = set(plan.ancestors(cell.evaluation))
    if set(cell.path) != path or stages[cell.evaluation].kind is not StageKind.PREDICT:
        yield f"{who}: its path is not that of an evaluation"
    seeds = {stages[key].seed for key in path} - {None, cell.name.seed}
    if seeds:
        yield f"{who}: some of its stages have the seed {min(map(str, seeds))}"
    poisons = _of_kind(stages, path, StageKind.POISON)
    most = 0 if cell.name.attack == NONE else 1 + (cell.name.downstream != NONE)
    if not min(most, 1) <= len(poisons) <= most:
        yield f"{who}: has {len(poisons)} poisons"
    if cell.control is not None:
        yield from _control_differences(plan, cell, cell.control)
    elif poisons and not _of_kind(stages, path, StageKind.IMPORT):
        yield f"{who}: has no control"


def _detection_differences(plan: Plan, cell: Cell) -> Iterator[str]:
    """Check that each detector of a cell, and its control, score the images of its encoders."""
    who, stages = _who(cell), plan.stages
    for one in cell.detections:
        if stages[one.key].kind is not StageKind.DETECT:
            continue
        for key, evaluation in ((one.key, cell.evaluation), (one.control, cell.control)):
            if key is None or evaluation is None:
                if (key is None) != (evaluation is None):
                    yield f"{who}: its detector has no control, or a control without a cell's"
                continue
            detect, path = stages[key], set(plan.ancestors(evaluation))
            if (detect.kind, detect.plugin) != (StageKind.DETECT, stages[one.key].plugin):
                yield f"{who}: its control is scored by another detector"
            read = {detect.inputs.get(role) for role in ("encoder", "dataset", "poison")} - {None}
            if not read <= path or ("poison" in detect.inputs) != (cell.name.attack != NONE):
                yield f"{who}: its detector is shown another encoder or other images"


def _inspection_differences(plan: Plan, cell: Cell) -> Iterator[str]:
    """Check that a cell's encoder is inspected, and that of its control in the same way."""
    who, stages = _who(cell), plan.stages
    for one in cell.detections:
        if stages[one.key].kind is StageKind.DETECT:
            continue
        for key, evaluation in ((one.key, cell.evaluation), (one.control, cell.control)):
            if key is None or evaluation is None:
                if key != evaluation:
                    yield f"{who}: an inspection, or its control, is missing"
                continue
            stage = stages[key]
            if stage.kind is not StageKind.INSPECT:
                yield f"{who}: its stage {key} inspects no encoder"
            elif stage.inputs.get("encoder") not in plan.ancestors(evaluation):
                yield f"{who}: an inspection is of another encoder"
            elif (stage.plugin, stage.seed) != (stages[one.key].plugin, cell.name.seed):
                yield f"{who}: the encoder of its control is inspected by another defense"


def _control_differences(plan: Plan, cell: Cell, key: str) -> Iterator[str]:
    """Check that a control differs from its cell in nothing but what it was trained on."""
    who, stages = _who(cell), plan.stages
    path, control = set(plan.ancestors(cell.evaluation)), set(plan.ancestors(key))
    evaluation, other = stages[cell.evaluation], stages[key]
    if (evaluation.plugin, evaluation.seed) != (other.plugin, other.seed):
        yield f"{who}: its control is judged by another evaluator"
    if _shown(stages, control) != _shown(stages, path):
        yield f"{who}: its control is shown another trigger"
    if any("poison" in stages[key].inputs for key in _of_kind(stages, control, StageKind.PRETRAIN)):
        yield f"{who}: its control was trained on poison"
    if _of_kind(stages, control, StageKind.IMPLANT):
        yield f"{who}: its control was implanted"
    own, others = _made(stages, cell.evaluation), _made(stages, key)
    for kind in (StageKind.PRETRAIN, StageKind.REPAIR, StageKind.SANITIZE):
        if _plugins(stages, own, kind) != _plugins(stages, others, kind):
            yield f"{who}: its control went through another {kind}"


def _made(stages: Mapping[str, Stage], evaluation: str) -> set[str]:
    """Return the stages that lead to an evaluation, without what an attack only reads."""
    found: set[str] = set()
    rest = [evaluation]
    while rest:
        key = rest.pop()
        if key not in found:
            found.add(key)
            attack = stages[key].kind is StageKind.POISON
            inputs = stages[key].inputs.items()
            rest += [read for role, read in inputs if not (attack and role == "encoder")]
    return found


def _of_kind(stages: Mapping[str, Stage], keys: set[str], kind: StageKind) -> set[str]:
    return {key for key in keys if stages[key].kind is kind}


def _shown(stages: Mapping[str, Stage], keys: set[str]) -> set[str]:
    """Return the poisons whose triggers are shown to the encoder."""
    readers = (stages[key] for key in keys if stages[key].kind in _SHOWS)
    return {reader.inputs["poison"] for reader in readers if "poison" in reader.inputs}


def _plugins(stages: Mapping[str, Stage], keys: set[str], kind: StageKind) -> list[str]:
    found = ((stages[key].uses, stages[key].seed) for key in _of_kind(stages, keys, kind))
    return sorted(str(one) for one in found)


def _who(cell: Cell) -> str:
    name = cell.name
    return (
        f"cell {name.method} · {name.attack} · {name.defense} · {name.evaluator} "
        f"on {name.evaluated}, seed {name.seed}"
    )
