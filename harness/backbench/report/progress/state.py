"""The state of a run, as displays show it: fed by its events, or read from what it has written."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from backbench.model import Cell, Plan, Stage, StageKind
from backbench.report.progress.remaining import Remaining

#: Losses that are kept of a running stage; every second one is dropped where there are more.
_LOSSES = 64

#: Seconds of progress from which a rate is known.
_RATE_S = 0.5

#: Seconds that an estimate of the remaining time lasts, for each stage that is left: it takes a
#: hundredth of them, and a short stage no longer.
_ESTIMATE_LASTS_S = 1e-3


@dataclass(slots=True)
class Running:
    """A stage that runs. Times are those of the clock that the state is given."""

    stage: Stage
    began: float
    done: int = 0
    total: int = 0
    first: tuple[float, int] | None = None
    last: float = 0.0
    values: dict[str, float] = field(default_factory=dict)
    losses: list[float] = field(default_factory=list)

    @property
    def fraction(self) -> float:
        """Share that is done, in [0, 1]."""
        return self.done / max(1, self.total)

    @property
    def rate(self) -> float | None:
        """Units a second; ``None`` while that is not known."""
        if self.first is None or self.last - self.first[0] < _RATE_S:
            return None
        return (self.done - self.first[1]) / (self.last - self.first[0])

    @property
    def images_per_s(self) -> float | None:
        """Images a second, of a training whose units are batches."""
        size = self.stage.plugin.options.get("batch_size") if self.stage.plugin else None
        if self.rate is None or self.stage.kind is not StageKind.PRETRAIN or not size:
            return None
        return self.rate * int(size)

    def progressed(self, now: float, done: int, total: int, values: Mapping[str, float]) -> None:
        """Take a report of progress."""
        self.done, self.total, self.last = done, total, now
        self.first = self.first or (now, done)
        self.values.update(values)
        if "loss" in values:
            self.losses.append(values["loss"])
            if len(self.losses) > _LOSSES:
                self.losses = self.losses[::2]


class RunState:
    """State of the stages of a run.

    Args:
        benchmark: Name of the benchmark.
        stages: The stages of the run, each after those that it reads.
        cells: The cells of the matrix.
        slots: Stages that run at a time.
        began: When the run began.
        seen: Stages that earlier runs have made, with their seconds.
    """

    def __init__(
        self,
        benchmark: str,
        stages: Iterable[Stage],
        cells: Sequence[Cell] = (),
        slots: int = 1,
        began: float = 0.0,
        *,
        seen: Sequence[tuple[Stage, float]] = (),
    ) -> None:
        self.benchmark, self.cells, self.slots, self.began = benchmark, cells, slots, began
        self.stages = {stage.key: stage for stage in stages}
        self.left = set(self.stages)
        self.running: dict[str, Running] = {}
        self.ended: dict[str, float] = {}
        self.failed: dict[str, str] = {}
        self.seen = seen
        self.remaining = Remaining(self.stages.values(), slots, seen)
        self._estimate = (began, math.nan)

    @property
    def over(self) -> int:
        """Number of stages that are over, well or not."""
        return len(self.ended)

    def started(self, stage: Stage, now: float) -> None:
        """Note that a stage has begun."""
        self.running[stage.key] = Running(stage, now)
        self.remaining.started(stage, now)

    def progressed(
        self, key: str, now: float, done: int, total: int, values: Mapping[str, float]
    ) -> None:
        """Note how far a stage is."""
        if running := self.running.get(key):
            running.progressed(now, done, total, values)
            self.remaining.progressed(running.stage, running.fraction, now)

    def finish(self, stage: Stage, now: float, reason: str = "") -> None:
        """Note that a stage is over; of one that failed, why."""
        began = self.running.pop(stage.key).began if stage.key in self.running else now
        self.ended[stage.key] = now - began
        if reason:
            self.failed[stage.key] = reason
            self.remaining.failed(stage)
        else:
            self.left.discard(stage.key)
            self.remaining.ended(stage, now)

    def seconds_left(self, now: float) -> float:
        """Return the remaining seconds; ``nan`` while they are not known.

        They are estimated again when the last estimate is old.
        """
        at, seconds = self._estimate
        if math.isnan(seconds) or now - at >= _ESTIMATE_LASTS_S * len(self.left):
            at, seconds = self._estimate = now, self.remaining.seconds(now)
        left = seconds - (now - at)
        return 0.0 if left < 0 else left

    def cell(self, cell: Cell) -> str:
        """Return what has become of a cell: ``done``, ``failed``, ``running`` or ``waiting``."""
        needed = (*cell.path, *cell.own)
        if self.failed and any(key in self.failed for key in needed):
            return "failed"
        if not any(key in self.left for key in cell.own):
            return "done"
        return "running" if any(key in self.running for key in needed) else "waiting"

    def failure(self, key: str) -> str:
        """Return which stage failed, how many cells need it, and why it failed."""
        count = sum(key in cell.path or key in cell.own for cell in self.cells)
        needed = f" ({count} {'cell needs' if count == 1 else 'cells need'} it)" if count else ""
        return f"{self.stages[key].label}{needed}: {self.failed[key]}"

    def to_json(self, now: float) -> dict[str, Any]:
        """Return JSON values: what a watcher in another process needs besides the plan."""
        return {
            "benchmark": self.benchmark,
            "slots": self.slots,
            "elapsed": now - self.began,
            "stages": list(self.stages),
            "seen": {stage.key: seconds for stage, seconds in self.seen},
            "ended": self.ended,
            "failed": self.failed,
            "running": {
                key: {
                    "seconds": now - one.began,
                    "done": one.done,
                    "total": one.total,
                    "first": one.first and [now - one.first[0], one.first[1]],
                    "last": now - one.last,
                    "values": {name: x for name, x in one.values.items() if math.isfinite(x)},
                    "losses": [x for x in one.losses if math.isfinite(x)],
                }
                for key, one in self.running.items()
            },
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any], plan: Plan, now: float) -> RunState:
        """Read what :meth:`to_json` returned just now; stages that the plan lacks are left out."""
        keys = [key for key in plan.stages if key in set(content["stages"])]
        began = now - content["elapsed"]
        state = cls(
            content["benchmark"],
            [plan.stages[key] for key in keys],
            plan.cells,
            content["slots"],
            began,
            seen=[
                (plan.stages[key], seconds)
                for key, seconds in content["seen"].items()
                if key in plan.stages
            ],
        )
        for key, seconds in content["ended"].items():
            if key in state.stages:
                state.started(state.stages[key], now - seconds)
                state.finish(state.stages[key], now, content["failed"].get(key, ""))
        for key, found in content["running"].items():
            if key in state.stages:
                state.started(state.stages[key], now - found["seconds"])
                running = state.running[key]
                running.progressed(
                    now - found["last"], found["done"], found["total"], found["values"]
                )
                running.losses = list(found["losses"])
                if found["first"]:
                    running.first = now - found["first"][0], found["first"][1]
                state.remaining.progressed(running.stage, running.fraction, running.last)
        return state
