"""Check a bundle: everything that can be known without its images, its weights and its code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Final

from pydantic import ValidationError

from backbench.benchmark.changes import changed
from backbench.benchmark.file import BenchmarkFile, Claim
from backbench.benchmark.sweeps import expanded
from backbench.benchmark.zoo import group_of, with_encoders
from backbench.errors import ConfigError, Problem
from backbench.model import NONE, Cell, Plan, Stage, StageKind
from backbench.store.records import Record
from backbench.system.toml import parse_toml
from backbench.verification.bundle import CHANGES, ENVIRONMENT, HEADER, PLAN, TOML, Bundle, exported
from backbench.verification.contents import content_differences, read_differences
from backbench.verification.evidence import parse_json
from backbench.verification.exporting import described, environments
from backbench.verification.findings import MALFORMED, Findings
from backbench.verification.identity import description_differences

CANNOT_PROVE = (
    "a bundle cannot prove that its predictions came from an encoder that was trained as its "
    "records say, nor that the images were those of its manifests: only running the benchmark can"
)

#: Most stages that lead to one; more than a dozen have no meaning.
_MOST_STAGES: Final = 100


def verify_bundle(bundle: Bundle) -> Findings:
    """Check a bundle's hashes, keys, plan, manifests, predictions and metrics."""
    found = Findings()
    found.look(HEADER, _file_differences(bundle))
    keys = (
        f"stage {key}: its description has the key {stage.key}"
        for key, stage in bundle.plan.stages.items()
        if stage.key != key
    )
    found.look(PLAN, chain(plan_differences(bundle.plan), keys))
    found.look(TOML, _toml_differences(bundle))
    found.look(ENVIRONMENT, _environment_differences(bundle))
    for name in sorted(bundle.names):
        if name.startswith(("records/", "artifacts/")):
            key = name.split("/")[1].removesuffix(".json")
            known = name.startswith("records/") or f"records/{key}.json" in bundle.names
            if key not in bundle.plan.stages or not known:
                found.look(name, [f"{PLAN} has no such stage, or it has no record"])
    for key in bundle.plan.stages:
        if f"records/{key}.json" in bundle.names:
            found.checked += 1
            stage = bundle.plan.stages[key]
            uses = "".join(f" {use.name}" for use in stage.uses)
            found.look(f"{stage.kind}{uses} ({key})", _stage_differences(bundle, key))
    return found


def _file_differences(bundle: Bundle) -> Iterator[str]:
    for name in sorted(bundle.names - {HEADER} | set(bundle.files)):
        if name not in bundle.names:
            yield f"{name} is missing"
        elif name not in bundle.files:
            yield f"{name} is not in its list"
        elif described(bundle.content(name)) != bundle.files[name]:
            yield f"{name} has another size or SHA-256 than its list says"
    if bundle.header.get("benchmark") != bundle.plan.benchmark:
        yield "names another benchmark than the plan"


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
    for kind in (StageKind.PRETRAIN, StageKind.REPAIR, StageKind.SANITIZE):
        if _plugins(stages, path, kind) != _plugins(stages, control, kind):
            yield f"{who}: its control went through another {kind}"


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


def claims_in(bundle: Bundle) -> tuple[Claim, ...]:
    """Return the claims of a bundle's benchmark file; none if it cannot be read."""
    try:
        return _benchmark(bundle).claims
    except (ConfigError, *MALFORMED):
        return ()


def _benchmark(bundle: Bundle) -> BenchmarkFile:
    """Return a bundle's benchmark file; a ConfigError or a ValidationError if it is none."""
    values = parse_toml(bundle.content(TOML).decode("utf-8-sig"), TOML)
    origins = {one.name: one for one in sorted(bundle.plan.origins.values())}
    content = BenchmarkFile.model_validate(_completed(values, bundle.header, list(origins)))
    return content.with_origins(origins)


def _toml_differences(bundle: Bundle) -> Iterator[str]:
    """Compare the plan's cells with those that the benchmark file requests."""
    try:
        content = _benchmark(bundle)
    except ConfigError as error:
        yield from (problem.message for problem in error.problems)
        return
    except ValidationError:
        yield "is not a benchmark file: `backbench check` says why"
        return
    if too_large := content.size_problem():
        yield str(too_large)
        return
    header, plan = content.benchmark, bundle.plan
    if (header.name, header.protocol or "") != (plan.benchmark, plan.protocol):
        yield f"its name or protocol is not that of {PLAN}"
    profile = bundle.header.get("profile")
    if profile is not None and profile not in content.profiles:
        yield f"has no profile {profile!r}"
        return
    if content.cells(profile) != tuple(cell.name for cell in plan.cells):
        yield f"its matrix does not give the {len(plan.cells)} cells of {PLAN}"


def _completed(
    tables: Mapping[str, Any], header: Mapping[str, Any], zoo: Sequence[str]
) -> dict[str, Any]:
    """Return a file's tables with the changes that the bundle states, and without sweeps.

    ``zoo`` are the names of the encoders of its zoo, whose cards a bundle does not have.

    Raises:
        ConfigError: If a change or a sweep is none.
    """
    changes = header.get(CHANGES, [])
    if not isinstance(changes, list) or not all(isinstance(one, str) for one in changes):
        raise ConfigError(TOML, [Problem("", f"{CHANGES} of {HEADER} is no array of texts")])
    problems: list[Problem] = []
    tables = with_encoders(
        changed(tables, changes, problems), {name: {"weights": name} for name in zoo}, problems
    )
    completed = expanded(tables, problems, group_of(zoo) if zoo else {})
    if problems:
        raise ConfigError(TOML, problems)
    return completed


def _environment_differences(bundle: Bundle) -> Iterator[str]:
    records = filter(None, map(bundle.record, bundle.plan.stages))
    if parse_json(bundle.content(ENVIRONMENT)) != environments(records):
        yield "not what the records say of where they were made"


def _stage_differences(bundle: Bundle, key: str) -> Iterator[str]:
    record = bundle.record(key)
    if record is None:
        return
    if record.key != key:
        yield f"its record is that of {record.key}"
        return
    yield from description_differences(record, bundle.plan.stages[key])
    for role, read in record.stage.inputs.items():
        if f"records/{read}.json" not in bundle.names:
            yield f"the {role} that it read ({read}) has no record"
    yield from read_differences(record, bundle)
    yield from _artifact_differences(bundle, record)
    yield from content_differences(record, bundle)


def _artifact_differences(bundle: Bundle, record: Record) -> Iterator[str]:
    there = bundle.artifacts.get(record.key, set())
    for name, said in record.files.items():
        if exported(record.stage.kind, name):
            if name not in there:
                yield f"{name} is missing"
            elif described(bundle.read(record.key, name)) != said:
                yield f"{name} has another size or SHA-256 than its record says"
    for name in sorted(there - set(record.files)):
        yield f"{name} is not in its record"
