"""The origin of a row of the leaderboard, from the benchmark file to the predictions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from backbench.benchmark.sweeps import base_of
from backbench.errors import PluginError
from backbench.model import NONE, Axis, Plan, PluginUse, Stage, StageKind
from backbench.plugin.registry import Registry
from backbench.results.detectors import Scored, scores_in, separation
from backbench.results.leaderboard import Row
from backbench.results.reader import MeasuredOf, numbers
from backbench.results.threat import threat_model, threat_text
from backbench.store.metadata import (
    DetectRecord,
    EncoderRecord,
    EvaluationRecord,
    FitDetectorRecord,
    FitRecord,
    InspectRecord,
    RepairRecord,
    SanitizeRecord,
)
from backbench.store.records import Record
from backbench.store.store import Store
from backbench.system import files

#: What is quoted of where a stage ran; a damaged record, or a stranger's, may lack some of it.
_QUOTED = {
    "commit", "cores", "device", "gpu", "libraries", "platform", "plugin", "processor", "python",
    "threads",
}  # fmt: skip

#: Name of a table of TOML, number of its first line, and its lines.
_Table = tuple[str, int, list[str]]

_HEADER = re.compile(r"\s*(\[\[?)\s*([^\[\]#]+?)\s*\]")


def explain(
    row: Row,
    plan: Plan,
    store: Store,
    registry: Registry,
    file: Path,
    *,
    measured_of: MeasuredOf,
    profile: str | None = None,
    changes: Iterable[str] = (),
) -> Iterator[str]:
    """Yield, line by line, how a row's numbers came about."""
    evaluator, _, variant = row.names["evaluator"].partition(":")
    names = {**row.names, "evaluator": evaluator}
    cells = [cell for cell in plan.cells if cell.name.row == names]
    yield " · ".join(f"{field} {row.names[field]}" for field in Axis)
    yield f"n = {len(row.seeds)} of {row.planned} seeds; protocol {row.protocol or 'none'}"
    for metric, summary in sorted(row.values.items()):
        values = ", ".join(f"{value:.6g}" for value in summary.values)
        control = row.controls.get(metric)
        beside = f"; control {control.mean:.6g}" if control else ""
        yield f"  {metric} = {summary.mean:.6g} (seeds: {values}{beside})"
    yield ""
    yield from _lines_of(file, names, profile)
    yield from (f"changed: {change}" for change in changes)
    teller = _Teller(plan, store, registry, measured_of)
    for cell in sorted(cells, key=lambda one: one.name.seed):
        yield ""
        yield f"seed {cell.name.seed}"
        yield from teller.path(cell.path, variant)
        for one in cell.detections:
            yield "  beside it: a defense that detects"
            yield from teller.path(plan.ancestors(one.key), variant)
        if cell.control is not None:
            yield "  its control: the same trigger, shown to an encoder trained on clean data"
            yield from teller.path(plan.ancestors(*cell.controls), variant)


def _lines_of(file: Path, names: Mapping[str, str], profile: str | None) -> Iterator[str]:
    """Yield the lines of the benchmark file that a row is of."""
    tables = _tables(files.read_text(file))
    wanted = ["benchmark", *(f"{axis.tables}.{names[axis]}" for axis in Axis), "matrix"]
    wanted += [f"profiles.{profile}"] if profile else []
    for name in wanted:
        found = _named(tables, name) or _named(tables, base_of(name))
        for number, lines in found:
            yield f"{file}:{number}"
            yield from (f"  {line}" for line in lines)
        if not found and not name.endswith(f".{NONE}"):
            yield f"{file}: no table [{name}]: all as the plugin of this name has it"


def _named(tables: Iterable[_Table], name: str) -> list[tuple[int, list[str]]]:
    """Return the number of the first line, and the lines, of the tables of a name."""
    return [
        (number, lines)
        for table, number, lines in tables
        if table == name or table.startswith((f"{name}.", f"{name}["))
    ]


def _tables(text: str) -> list[_Table]:
    """Return the tables of a TOML file: name, number of the first line, lines without comments."""
    found: list[_Table] = []
    for number, line in enumerate(text.splitlines(), start=1):
        header = _HEADER.match(line)
        # A line of an array can look like a header only if it starts with a bracket and a name.
        if header and "=" not in header[2] and "," not in header[2] and '"' not in header[2][:1]:
            name = re.sub(r"\s*\.\s*", ".", header[2]).replace('"', "").replace("'", "")
            found.append((name, number, [line]))
        elif found and line.strip() and not line.lstrip().startswith("#"):
            found[-1][2].append(line)
    return found


@dataclass
class _Teller:
    """Describes stages, each of them once."""

    plan: Plan
    store: Store
    registry: Registry
    measured_of: MeasuredOf
    seen: set[str] = field(default_factory=set)
    environments: dict[str, int] = field(default_factory=dict)

    def path(self, keys: Sequence[str], variant: str) -> Iterator[str]:
        """Describe the stages that lead to an evaluation, and the evaluation last."""
        for key in keys:
            stage = self.plan.stages[key]
            if key in self.seen:
                yield f"  {key}  {stage.label} (see above)"
                continue
            self.seen.add(key)
            yield f"  {key}  {stage.label}"
            record = self.store.readable(key)
            lines = (*self._asked(stage), *self._done(key, record), *self._gave(record, variant))
            yield from (f"      {line}" for line in lines)

    def _asked(self, stage: Stage) -> Iterator[str]:
        for use in stage.uses:
            yield f"plugin {use.kind} {use.name} of {use.distribution}, revision {use.revision}"
            options = ", ".join(_changed(use, self.registry))
            yield f"options that differ from the defaults: {options or 'none'}"
        if stage.seed is not None:
            yield f"seed {stage.seed}"
        if stage.content:
            what = "data fingerprint" if stage.kind is StageKind.DATASET else "content"
            yield f"{what} {stage.content}"
        for role, key in stage.inputs.items():
            yield f"reads {role} {key}"

    def _done(self, key: str, record: Record | None) -> Iterator[str]:
        if record is None:
            failure = self.store.failure(key)
            yield f"has failed: {failure['reason']}" if failure else "has not been run"
            return
        made = record.provenance
        if not (made.keys() >= _QUOTED and isinstance(made["libraries"], dict)):
            yield "its record does not say where it was made"
            return
        text = _environment_of(made)
        number = self.environments.get(text)
        if number is None:
            number = self.environments[text] = len(self.environments) + 1
            yield f"environment {number}: {text}"
        yield _made_by(made, number)
        yield from _said("made of what these gave", made.get("plugins"))
        if record.stage.kind is not StageKind.DATASET:  # its own content is shown
            yield from _said("data fingerprint", made.get("data"))
        said = record.metadata
        if isinstance(said, EncoderRecord | RepairRecord | FitDetectorRecord):
            yield from _said("arithmetic", said.arithmetic)
        yield (
            f"{record.wall_s:.1f} s, of the processor {record.cpu_s:.1f} s; at most "
            f"{record.peak_mem_gib:.2f} GiB{_peak_of(made)}; finished {record.finished}"
        )
        yield from _said("threat model", threat_text(threat_model([said])))
        if isinstance(said, FitRecord):
            yield from _said("selected on training images", said.selection)
        if isinstance(said, EvaluationRecord):
            yield from _said("protocol", said.protocol)

    def _values(self, record: Record, variant: str) -> Mapping[str, float]:
        """Return the numbers that a stage gave, by name."""
        match record.metadata:
            case SanitizeRecord(detection=values):
                return values
            case InspectRecord(score=score, numbers=numbers_besides):
                return {"score": score, **numbers_besides}
            case EvaluationRecord():
                return numbers(self.measured_of(record.key, variant) or {})
            case DetectRecord():
                return _separated(self.store, record)
        return {}

    def _gave(self, record: Record | None, variant: str) -> Iterator[str]:
        if record is None:
            return
        for flag in record.flags:
            if flag.stage == record.label:  # others are shown at their own stage
                yield f"flagged: {flag.name}: {flag.sentence}"
        values = self._values(record, variant)
        if not values:
            return
        gave = (f"{name} = {value:.6g}" for name, value in sorted(values.items()))
        yield "gave " + ", ".join(gave)
        for name, said in record.files.items():
            what = name.partition(".")[0].partition("_")[0]
            if what in {"predictions", "scores"}:
                path = self.store.artifact(record.key) / name
                yield f"{what} {path} (SHA-256 {said['sha256']})"


def _separated(store: Store, record: Record) -> Mapping[str, float]:
    """Return how well a detector's stored scores separate; nothing of damaged scores."""
    content = scores_in(store)(record)
    try:
        return {} if content is None else numbers(separation(Scored.read(content)))
    except ValueError:
        return {}


def _said(what: str, values: Any) -> Iterator[str]:
    """Yield a line of a record's values, if there are any."""
    if isinstance(values, Mapping):
        values = ", ".join(f"{name} {value}" for name, value in values.items())
    if values:
        yield f"{what}: {values}"


def _environment_of(made: Mapping[str, Any]) -> str:
    """Return the libraries, the machine and the switches of a record."""
    libraries = ", ".join(f"{name} {version}" for name, version in made["libraries"].items())
    machine = f"{made['processor']}, {made['cores']} cores, {made['platform']}"
    text = f"Python {made['python']}, {libraries}; on {machine}"
    return text + "".join(
        f"; {line}"
        for what, name in (("torch's switches", "determinism"), ("variables", "environment"))
        for line in _said(what, made.get(name))
    )


def _made_by(made: Mapping[str, Any], environment: int) -> str:
    """Return the code that made an artifact, and where: the environment's number, the device."""
    device = f"{made['device']} ({made['gpu']})" if made["gpu"] else made["device"]
    changed = " (with changes)" if made.get("dirty") else ""
    said_by = f" (by {made['threads_of']})" if "threads_of" in made else ""
    by = f"{made['plugin'] or 'the harness'}{_others_of(made)}"
    return (
        f"by {by}, commit {made['commit'] or 'not known'}{changed}, in environment {environment}; "
        f"device {device}, threads {made['threads'] or 'not known'}{said_by}"
    )


def _others_of(made: Mapping[str, Any]) -> str:
    """Return the distributions of the defense that wrapped a method, and of the backbones."""
    others = ("guard", "backbone", "guard_backbone")
    return "".join(f" with {made[role]}" for role in others if role in made)


def _peak_of(made: Mapping[str, Any]) -> str:
    """Return which process, and which GPU, a peak of memory is of."""
    of = f" of the {made['peak_mem_of']}" if "peak_mem_of" in made else ""
    gpu = f", on the GPU {made['peak_gpu_mem_gib']:.2f} GiB" if "peak_gpu_mem_gib" in made else ""
    return of + gpu


def _changed(use: PluginUse, registry: Registry) -> Iterator[str]:
    """Yield the options that are not at their defaults, ``schedule.warmup_epochs = 0``."""
    try:
        model: type[BaseModel] = registry.find(use.kind, use.name).info.options
    except (PluginError, KeyError):  # a layout of external weights has no defaults
        model = BaseModel
    # As JSON values; an option that must be given has no default.
    defaults = model.model_construct().model_dump(mode="json", warnings=False)
    yield from _unlike(use.options, defaults, "")


def _unlike(options: Mapping[str, Any], defaults: Mapping[str, Any], path: str) -> Iterator[str]:
    for name, value in options.items():
        usual = defaults.get(name, ...)
        if isinstance(value, Mapping) and isinstance(usual, Mapping):
            yield from _unlike(value, usual, f"{path}{name}.")
        elif value != usual:
            yield f"{path}{name} = {value!r}"
