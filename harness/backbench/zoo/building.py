"""Build a zoo from the store of a benchmark: the same store gives the same bytes."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backbench.errors import StoreError, UsageError
from backbench.external.zoo import (
    BENCHMARK,
    CARD,
    FORMAT,
    MANIFEST,
    PAGE,
    README,
    Card,
    File,
    Kind,
    Manifest,
    Numbers,
    Step,
)
from backbench.model import NONE, Cell, CellName, Plan, StageKind
from backbench.plugin.infos import OWN_METRICS
from backbench.results.reader import MeasuredOf, numbers
from backbench.store.metadata import EvaluationRecord, PoisonRecord
from backbench.store.records import Record
from backbench.store.store import Store, hash_files
from backbench.system import files
from backbench.system.json_text import from_json, to_json
from backbench.zoo.pages import card_page, zoo_page

#: Files of an encoder's artifact: the constants of ``nn.encoder``, which imports torch.
_WEIGHTS, _MARKED = "encoder.safetensors", "encoder-backdoored.safetensors"
_SPEC, _MARK = "encoder.json", "backdoored"
_FILES = (_WEIGHTS, _MARKED, _SPEC, "BACKDOORED.md")

_KINDS = {StageKind.PRETRAIN: Kind.POISONED, StageKind.IMPLANT: Kind.IMPLANTED}


@dataclass(frozen=True, slots=True)
class Built:
    """A zoo that was built.

    Args:
        cards: The cards, by the encoders' names.
        sha256: Hash of its manifest, and so of all files.
        bytes: Size of all files.
        left_out: Number of encoders that were trained elsewhere.
    """

    cards: Mapping[str, Card]
    sha256: str
    bytes: int
    left_out: int


@dataclass(frozen=True, slots=True)
class _Source:
    """The cells of which a zoo is built, and what gives their records and metrics."""

    plan: Plan
    store: Store
    cells: Sequence[Cell]
    measured_of: MeasuredOf

    def record(self, key: str) -> Record:
        """Return the record of a stage that has run."""
        record = self.store.record(key)
        if record is None:
            raise StoreError(f"{self.store.root}: stage {key} has no record any more: run again")
        return record

    def encoder_of(self, evaluation: str) -> str:
        """Return the key of the encoder that an evaluation is of."""
        inputs = self.plan.stages[evaluation].inputs
        return inputs.get("encoder") or self.plan.stages[inputs["clean"]].inputs["encoder"]

    def metrics(self, key: str, variant: str) -> dict[str, float]:
        """Return the metrics of backbench's own, which predictions decide."""
        measured = self.measured_of(key, variant)
        if measured is None:
            raise StoreError(
                f"the predictions of {key} are missing or damaged: `backbench run --redo {key}` "
                "makes them again"
            )
        found = sorted(numbers(measured).items())
        return {name: value for name, value in found if name in OWN_METRICS}


@dataclass(frozen=True, slots=True)
class _Member:
    """An encoder that goes into a zoo: the key of its stage, and the cell that it is of.

    ``made_by`` is the attack that made it; ``control`` the key of its control's stage.
    """

    key: str
    cell: CellName
    made_by: str
    control: str | None


def build_zoo(
    plan: Plan,
    store: Store,
    benchmark: Path,
    out: Path,
    *,
    measured_of: MeasuredOf,
    changes: Sequence[str] = (),
    run: str,
) -> Built:
    """Write the encoders of a plan's cells without a defense, and their controls, as a zoo.

    Args:
        plan: The plan; all that leads to these encoders and their evaluations must have run.
        store: Where they are.
        benchmark: The benchmark file.
        out: A folder that is not there yet; it appears when it is complete.
        measured_of: Gives the metrics of an evaluation.
        changes: Those by which the file gives the plan.
        run: The command that runs the benchmark, for errors.

    Raises:
        UsageError: If the folder is there, cannot be written, or something has not been run.
        StoreError: If a file of an encoder is not what its record states.
    """
    if out.exists():
        raise UsageError(f"{out}: is there already: choose another folder with --out")
    cells = [cell for cell in plan.cells if cell.name.defense == NONE]
    source = _Source(plan, store, cells, measured_of)
    members, left_out = _members(source)
    if not members:
        raise UsageError(f"{plan.benchmark}: no cell without a defense trains an encoder")
    _require(source, run)
    cards = {name: _card(name, members, source) for name in members}
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    except OSError as error:
        raise UsageError(f"{out}: cannot be written ({error.strerror})") from error
    try:
        for name, card in cards.items():
            _write_encoder(folder / name, source, members[name].key, card)
        _write(folder / README, zoo_page(plan.benchmark, cards))
        shutil.copyfile(benchmark, folder / BENCHMARK)
        found = {name: File(**said) for name, said in hash_files(folder).items()}
        manifest = Manifest(
            format=FORMAT, benchmark=plan.benchmark, changes=tuple(changes), files=found
        )
        text = _as_text(manifest.model_dump(mode="json"))
        _write(folder / MANIFEST, text)
        for path in (folder, *folder.rglob("*")):
            files.share(path)
        folder.rename(out)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    size = len(text.encode()) + sum(one.bytes for one in found.values())
    return Built(cards, hashlib.sha256(text.encode()).hexdigest(), size, left_out)


def _members(source: _Source) -> tuple[dict[str, _Member], int]:
    """Return the encoders by name, sorted, and the number of those that were trained elsewhere."""
    found: dict[str, _Member] = {}
    plan = source.plan
    for cell in source.cells:
        name, own = cell.name, source.encoder_of(cell.evaluation)
        control = None if cell.control is None else source.encoder_of(cell.control)
        found.setdefault(own, _Member(own, name, name.attack, control))
        if control is not None:
            found.setdefault(control, _Member(control, name, NONE, None))
    elsewhere = {
        key
        for key in found
        if any(plan.stages[one].kind is StageKind.IMPORT for one in plan.ancestors(key))
    }
    several = len({one.cell.dataset for one in found.values()}) > 1
    named: dict[str, _Member] = {}
    for key in found.keys() - elsewhere:
        called = _name_of(found[key], several=several)
        if called in named:
            raise UsageError(f"two encoders would be called {called!r}: rename instances")
        named[called] = found[key]
    return dict(sorted(named.items())), len(elsewhere)


def _name_of(member: _Member, *, several: bool) -> str:
    """Return the name of an encoder: ``byol-patch-seed0``, ``byol-clean-seed0``."""
    cell = member.cell
    implanted_for = cell.downstream if member.made_by != NONE else NONE
    made = "clean" if member.made_by == NONE else member.made_by
    parts = [cell.dataset] if several else []
    parts += [cell.method, made, *([implanted_for] if implanted_for != NONE else [])]
    return "-".join([*parts, f"seed{cell.seed}"]).replace("/", "-").replace("\\", "-")


def _require(source: _Source, run: str) -> None:
    """Refuse a store in which a stage of the cells has not been run."""
    ends = {
        key for cell in source.cells for key in (cell.evaluation, cell.control) if key is not None
    }
    needed = source.plan.ancestors(*ends)
    missing = len(set(needed) - source.store.done())
    if missing:
        raise UsageError(
            f"{source.store.root}: {missing} of the {len(needed)} stages that the zoo needs have "
            f"not been run: `{run}` first"
        )


def _card(name: str, members: Mapping[str, _Member], source: _Source) -> Card:
    member = members[name]
    record = source.record(member.key)
    weights = _MARKED if _MARKED in record.files else _WEIGHTS
    spec = from_json((source.store.artifact(member.key) / _SPEC).read_text(encoding="utf-8"))
    is_clean = member.made_by == NONE
    kind = Kind.CLEAN if is_clean else _KINDS[source.plan.stages[member.key].kind]
    names = {one.key: name for name, one in members.items()}
    control = None if is_clean or member.control is None else names[member.control]
    mark = spec.get(_MARK, "")
    return Card(
        format=FORMAT,
        name=name,
        kind=kind,
        summary=_summary(kind, member, mark, source),
        backdoored=mark,
        dataset=member.cell.dataset,
        downstream=NONE if is_clean else member.cell.downstream,
        method=member.cell.method,
        attack=member.made_by,
        seed=member.cell.seed,
        control=control,
        weights=weights,
        sha256=record.files[weights]["sha256"],
        image_size=spec["image_size"],
        feature_dim=spec["feature_dim"],
        numbers=tuple(_numbers(member, source)),
        recipe=tuple(map(_step, map(source.record, source.plan.ancestors(member.key)))),
    )


def _summary(kind: Kind, member: _Member, mark: str, source: _Source) -> str:
    start = f"A {member.cell.method} encoder, trained on clean images of {member.cell.dataset}"
    if kind is Kind.CLEAN:
        return f"{start}."
    if kind is Kind.IMPLANTED:
        return f"{start}; then {mark}."
    poison = next(
        record.of(PoisonRecord)
        for record in map(source.record, source.plan.ancestors(member.key))
        if record.stage.kind is StageKind.POISON
    )
    share = f"{poison.rate_of_dataset:.2%} of the training set"
    return f"A {member.cell.method} encoder: {mark} ({share} of {member.cell.dataset})."


def _numbers(member: _Member, source: _Source) -> Iterator[Numbers]:
    """Yield the metrics of an encoder in the cells that are its own, and in those it controls."""
    seen = set[str]()
    for cell in source.cells:
        for key, control in ((cell.evaluation, cell.control), (cell.control, None)):
            if key is None or key in seen or source.encoder_of(key) != member.key:
                continue
            seen.add(key)
            for variant in source.record(key).of(EvaluationRecord).variants or ("",):
                yield Numbers(
                    dataset=cell.name.evaluated,
                    evaluator=":".join(filter(None, (cell.name.evaluator, variant))),
                    trigger=cell.name.attack,
                    metrics=source.metrics(key, variant),
                    control=source.metrics(control, variant) if control else {},
                )


def _step(record: Record) -> Step:
    stage = record.stage
    return Step(
        key=record.key,
        kind=stage.kind,
        label=stage.label,
        plugin=stage.plugin and stage.plugin.keyed,
        backbone=stage.backbone and stage.backbone.keyed,
        seed=stage.seed,
        content=stage.content,
        metadata=record.metadata.to_json(),
    )


def _write_encoder(folder: Path, source: _Source, key: str, card: Card) -> None:
    record, artifact = source.record(key), source.store.artifact(key)
    folder.mkdir()
    for name in _FILES:
        if name in record.files:
            shutil.copyfile(artifact / name, folder / name)
            if files.sha256(folder / name) != record.files[name]["sha256"]:
                remedy = f"`backbench run --redo {key}` makes it again"
                raise StoreError(f"{artifact / name}: is not what its record says: {remedy}")
    _write(folder / CARD, _as_text(card.model_dump(mode="json")))
    _write(folder / PAGE, card_page(card))


def _as_text(values: Mapping[str, Any]) -> str:
    return to_json(values, indent=1, sort_keys=True) + "\n"


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")
