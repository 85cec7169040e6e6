"""Session of stages that run: the plugins, the store, the executor, the device."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypedDict

from backbench.errors import UsageError
from backbench.execution.redo import to_redo
from backbench.execution.scheduler import Result, execute
from backbench.model import Plan, Stage, StageKind
from backbench.options.base import Options
from backbench.plugin import ExecutorInfo
from backbench.plugin.calling import plugin_code
from backbench.plugin.executor import Executor, Setup
from backbench.plugin.registry import Registered, Registry
from backbench.plugin.requirements import missing_packages
from backbench.results.outdated import Outdatedness
from backbench.store import DEFAULT_STORE
from backbench.store.integrity import damaged
from backbench.store.location import open_store
from backbench.store.metadata import DatasetRecord
from backbench.store.store import Store
from backbench.system.files import PathLike
from backbench.system.interrupts import STOPS, listening
from backbench.system.seal import is_sealed


class How(TypedDict, total=False):
    """Settings for where and how stages run; every key may be left out.

    Args:
        store: Folder or URL of artifacts and records; made if it is not there. Default: ``store``.
        executor: Name of the executor, or of a table of the benchmark file. Default: that of the
            file; ``local``, worker processes of this machine, where it names none.
        jobs: Stages at a time. Default: as the executor chooses.
        device: ``auto`` (default), ``cpu``, ``cuda`` or ``cuda:0``.
        progress: Show progress on stderr.
        observe: Names of observers besides those of the benchmark file: ``["tensorboard"]``.
        stage_timeout_s: Seconds after which a stage is ended. Default: as in the benchmark file.
        stage_memory_gib: Memory at which a stage is ended, GiB. Default: as in the benchmark file.
    """

    store: PathLike
    executor: str
    jobs: int | None
    device: str
    progress: bool
    observe: Sequence[str]
    stage_timeout_s: float | None
    stage_memory_gib: float | None


@dataclass(frozen=True, slots=True)
class Session:
    """Hold what every run needs.

    Args:
        registry: The installed plugins.
        store: Where artifacts and records are.
        executor: Name of the executor, or of one of ``executors``.
        jobs: Stages at a time; ``None`` leaves it to the executor.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:0``.
        stage_timeout_s: Seconds after which a stage is ended, if any.
        stage_memory_gib: Memory at which a stage is ended, if any.
        executors: Executors with options, by the name of their table.

    Raises:
        UsageError: If the device's name is misspelt.
    """

    registry: Registry
    store: Store
    executor: str = "local"
    jobs: int | None = None
    device: str = "auto"
    stage_timeout_s: float | None = None
    stage_memory_gib: float | None = None
    executors: Mapping[str, tuple[Registered, Options]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"auto|(cpu|cuda)(:\d+)?", self.device):
            raise UsageError(
                f"device {self.device!r}: say 'auto', 'cpu', 'cuda' or 'cuda:<number>'"
            )

    def run(
        self,
        make_plan: Callable[[Store], Plan],
        *,
        refresh: bool = False,
        redo: Sequence[str] = (),
    ) -> tuple[Plan, Result]:
        """Run what is missing of a plan.

        Args:
            make_plan: Makes the plan; called when the store is held.
            refresh: Repeat what an older revision of a plugin made, and nothing else.
            redo: Stages to make again with all that depend on them: keys or their beginnings,
                labels, kinds, names of plugins.

        Raises:
            UsageError: If another run holds the store, or a stage can never run here.
        """
        make_executor = self.executor_maker()
        with self.store.running():
            plan = make_plan(self.store)
            if refresh:
                plan = Outdatedness(plan, self.store).outdated_part()
            for key in to_redo(plan, redo):
                self.store.remove(key)
            return plan, self.finish(plan, make_executor)

    def finish(self, plan: Plan, make_executor: Callable[[], Executor]) -> Result:
        """Run what is missing of a plan whose stages no other process makes."""
        notes = forget_damaged(plan, self.store)
        for key in without_decoded(plan, self.store):
            self.store.forget(key)
        with listening(*STOPS):  # the next run continues the store
            return execute(plan, self.store, make_executor, self.registry.emit, notes)

    def executor_maker(self) -> Callable[[], Executor]:
        """Return what makes the executor.

        Raises:
            UsageError: If there is none of this name, or a package that it needs is not installed.
        """
        known = self.executors.get(self.executor)
        found = known[0] if known else self.registry.find(ExecutorInfo.kind, self.executor)
        if lacking := list(missing_packages(found, self.executor)):
            raise UsageError("\n".join(lacking))
        setup = Setup(
            store=self.store.root.absolute(),
            device=self.device,
            jobs=self.jobs,
            stage_timeout_s=self.stage_timeout_s,
            stage_memory_gib=self.stage_memory_gib,
        )

        def make() -> Executor:
            with plugin_code(found):
                options = known[1] if known else found.info.options()
                made: Executor = found.implementation()(options, setup)
            return made

        return make


def open_session(
    registry: Registry,
    how: How,
    executors: Mapping[str, tuple[Registered, Options]] | None = None,
) -> Session:
    """Return the session that :class:`How` describes; ``executors`` are those of a benchmark file.

    Raises:
        UsageError: If the device's name is misspelt, or the folder is no store.
    """
    return Session(
        registry,
        open_store(how.get("store", DEFAULT_STORE)),
        executor=how.get("executor", "local"),
        jobs=how.get("jobs"),
        device=how.get("device", "auto"),
        stage_timeout_s=how.get("stage_timeout_s"),
        stage_memory_gib=how.get("stage_memory_gib"),
        executors=executors or {},
    )


def forget_damaged(plan: Plan, store: Store) -> list[str]:
    """Put aside what cannot be used of a plan's stages, so that it is made again; name each."""
    found = damaged(store, plan.stages)
    for key in found:
        store.forget(key)
    notes = list(found.values())
    for path in map(store.checkpoint, plan.stages.keys() - store.done()):
        with suppress(OSError, ValueError):  # not there, or a defense's own
            if not path.stat().st_size or not is_sealed(path):
                path.unlink()
                notes.append(f"{path}: is damaged and not used: its training starts anew")
    return notes


def without_decoded(plan: Plan, store: Store) -> list[str]:
    """Return the keys of datasets whose decoded images are wanted, and were not when they ran.

    Their keys stay, and so does what was made from them: the images are the same.
    """
    done = store.done()
    return [
        key
        for key, stage in plan.stages.items()
        if stage.kind is StageKind.DATASET and key in done and _lacks_images(stage, store)
    ]


def _lacks_images(stage: Stage, store: Store) -> bool:
    record = store.record(stage.key)
    wanted = stage.plugin.options.get("cache", "off") if stage.plugin else "off"
    if record is None or wanted == "off":
        return False
    made = record.of(DatasetRecord)
    lacking = not made.decoded or None in made.decoded.values()
    return lacking and made.cache != wanted
