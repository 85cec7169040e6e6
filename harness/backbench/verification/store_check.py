"""Check every stage of a store."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

from backbench.errors import DataError, PluginError, StageError, StoreError
from backbench.model import Plan, Stage, StageKind
from backbench.plugin.registry import Registry
from backbench.stages.task import Task
from backbench.store.records import Record
from backbench.store.store import Store, hash_files
from backbench.verification import datasets, poisons
from backbench.verification.artifact_contents import content_differences, read_differences
from backbench.verification.evidence import StoreEvidence
from backbench.verification.findings import Finding, Findings
from backbench.verification.identity import description_differences, key_differences, restoring

_ORDER = list(StageKind)

#: Artifacts that plugins make again, by kind of stage.
_DERIVED = {StageKind.DATASET: "against the images", StageKind.POISON: "its images"}


def verify_store(
    store: Store,
    registry: Registry,
    plan: Plan | None = None,
) -> Findings:
    """Check what a store holds.

    Args:
        store: The store.
        registry: The installed plugins.
        plan: Check its stages only, its datasets where it has them; ``None``: all stages.
    """
    found = Findings()
    finished = frozenset(store.recorded())  # looked up once: the folder may hold ten thousands
    records = _records(store, finished if plan is None else finished & set(plan.stages), found)
    check = _Check(store, registry, plan.stages if plan else {}, found, finished, records)
    for record in records.values():
        check.stage(record)
    if plan is None and store.artifact("").is_dir():
        for folder in sorted(store.artifact("").iterdir()):
            if folder.name not in finished:
                stray = Finding(f"artifacts/{folder.name}", "no record describes it")
                found.unchecked.append(stray)
    return found


def _records(store: Store, keys: Collection[str], found: Findings) -> dict[str, Record]:
    """Read the records, by key, in an order in which inputs come first."""
    records: list[Record] = []
    for key in sorted(keys):
        try:
            record = store.record(key)
            if record is None:
                raise StoreError("cannot be read")  # noqa: TRY301 - a link to nothing
            records.append(record)
        except StoreError as error:
            found.checked += 1
            name = f"records/{key}.json"
            sentence = str(error).removeprefix(f"{store.root / name}: ")
            found.differs.append(Finding(name, sentence))
    records.sort(key=lambda one: (_ORDER.index(one.stage.kind), one.key))
    return {one.key: one for one in records}


@dataclass
class _Check:
    """Checks stages, one after the other; ``found`` grows."""

    store: Store
    registry: Registry
    planned: Mapping[str, Stage]
    found: Findings
    finished: Collection[str]
    records: Mapping[str, Record]

    def __post_init__(self) -> None:
        self.evidence = StoreEvidence(self.store, self.records)
        self.restored = restoring(self.registry)

    def stage(self, record: Record) -> None:
        """Look at one stage; note what differs first, and what could not be checked."""
        self.found.checked += 1
        self.store.evict(record.key)  # what a storage has is fetched again
        looks = (self._key, self._inputs, self._files, self._content)
        differences = chain.from_iterable(look(record) for look in looks)
        self.found.look(f"{record.label} ({record.key})", differences)

    def _key(self, record: Record) -> Iterator[str]:
        planned = self.planned.get(record.key)
        if planned is not None:
            yield from description_differences(record, planned)
            return
        try:
            yield from key_differences(record, self.restored)
        except PluginError as error:
            self._cannot(record, "its key", error)

    def _inputs(self, record: Record) -> Iterator[str]:
        for role, key in record.stage.inputs.items():
            if key not in self.finished:
                yield f"the {role} that it read ({key}) has no record"
        if record.stage.inputs and not record.read:
            self._cannot(record, "what it read", StoreError("its record does not say"))
        yield from read_differences(record, self.evidence)

    def _files(self, record: Record) -> Iterator[str]:
        folder = self.store.artifact(record.key)
        there = hash_files(folder) if folder.is_dir() else {}
        for name, said in record.files.items():
            if name not in there:
                yield f"{name} is missing"
            elif there[name] != said:
                yield (
                    f"{name} has {there[name]['bytes']} bytes and the SHA-256 "
                    f"{there[name]['sha256'][:12]}…, its record says {said['bytes']} and "
                    f"{said['sha256'][:12]}…"
                )
        for name in there:
            if name not in record.files:
                yield f"{name} is not in its record"

    def _content(self, record: Record) -> Iterator[str]:
        yield from content_differences(record, self.evidence)
        what = _DERIVED.get(record.stage.kind)
        if what is None:
            return
        try:
            task = self._task(record)
            if record.stage.kind is StageKind.DATASET:
                yield from datasets.differences(task, self.evidence)
            else:
                yield from poisons.differences(task, record)
        except (DataError, PluginError) as error:
            self._cannot(record, what, error)
        except StageError as error:
            yield str(error)

    def _task(self, record: Record) -> Task:
        return Task(
            stage=self.planned.get(record.key) or self.restored(record),
            store=self.store,
            folder=self.store.artifact(record.key),
            registry=self.registry,
            device="cpu",
            progress=lambda _done, _total, _values: None,
        )

    def _cannot(self, record: Record, what: str, error: Exception) -> None:
        self.found.unchecked.append(Finding(record.label, f"{what} ({error})"))
