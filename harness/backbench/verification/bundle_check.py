"""Check a bundle: everything that can be known without its images, its weights and its code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from pydantic import ValidationError

from backbench.benchmark.changes import changed
from backbench.benchmark.file import BenchmarkFile, Claim
from backbench.benchmark.sweeps import expanded
from backbench.benchmark.zoo import group_of, with_encoders
from backbench.errors import ConfigError, Problem
from backbench.store.records import Record
from backbench.system.toml import parse_toml
from backbench.verification.artifact_contents import content_differences, read_differences
from backbench.verification.bundle import CHANGES, ENVIRONMENT, HEADER, PLAN, TOML, Bundle, exported
from backbench.verification.evidence import parse_json
from backbench.verification.exporting import described, environments
from backbench.verification.findings import MALFORMED, Findings
from backbench.verification.identity import description_differences
from backbench.verification.plan_check import plan_differences

CANNOT_PROVE = (
    "a bundle cannot prove that its predictions came from an encoder that was trained as its "
    "records say, nor that the images were those of its manifests: only running the benchmark can"
)


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
