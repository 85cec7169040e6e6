"""Contract of executors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from backbench.model import PluginUse, Stage, StageKind
from backbench.plugin import Executor, Finished, Progressed, Setup
from backbench.store.store import Store
from backbench.testing.base import PluginContract, installed

#: Signals of one stage after which it does not count as ending.
_MOST_SIGNALS = 10_000

_TINY = {"classes": 2, "size": 16, "train_per_class": 3, "val_per_class": 2}


class ExecutorContract(PluginContract):
    """Subclass it, and set ``info`` and, where the defaults do not fit, ``options``.

    The executor runs stages of a second each, in a store of their own: datasets that can be drawn,
    and a dataset that cannot be read.
    """

    base = "Executor"

    @contextmanager
    def executor(self, folder: Path) -> Iterator[Executor]:
        """Make an executor over an empty store; close it afterwards."""
        Store(folder).prepare()
        kind, settings, setup = self.implementation(), self.settings(), Setup(folder, "cpu", 1)
        made: Executor = self.guarded("making the executor", lambda: kind(settings, setup))
        try:
            yield made
        finally:
            self.guarded("close", made.close)

    def ended(self, executor: Executor, stage: Stage) -> Finished:
        """Let the executor run a stage alone; return the signal with which it ends."""
        self.guarded("submit", lambda: executor.submit(stage))
        for _ in range(_MOST_SIGNALS):
            signal: Any = self.guarded("wait", executor.wait)
            assert isinstance(signal, Progressed | Finished), (
                f"return Progressed or Finished from wait, not a {type(signal).__name__}"
            )
            assert signal.key == stage.key, (
                f"report the stage that runs, {stage.key}, not {signal.key}"
            )
            if isinstance(signal, Finished):
                return signal
            assert 0 <= signal.done <= signal.total, (
                f"report 0 ≤ done ≤ total, not {signal.done} of {signal.total}"
            )
        raise AssertionError("return Finished from wait when a stage is over: it never does")

    def test_there_are_slots(self, tmp_path: Path) -> None:
        with self.executor(tmp_path) as executor:
            slots: Any = self.guarded("slots", lambda: executor.slots)
            assert type(slots) is int and slots >= 1, (  # noqa: PT018
                f"return at least one slot from slots, not {slots!r}"
            )
            width: Any = self.guarded("width", lambda: executor.width(drawn(0)))
            assert type(width) is int and 1 <= width <= slots, (  # noqa: PT018
                f"return 1 to {slots} slots from width, not {width!r}"
            )

    def test_stages_end_with_their_records_in_the_store(self, tmp_path: Path) -> None:
        """Two of them, one after the other."""
        with self.executor(tmp_path) as executor:
            stages = [drawn(seed) for seed in range(2)]
            self.guarded("admit", lambda: executor.admit(stages))
            for stage in stages:
                ended = self.ended(executor, stage)
                assert not ended.reason, f"run the stage: it ended with {ended.reason!r}"
                assert stage.key in Store(tmp_path).done(), (
                    "report Finished when the record of the stage is in the store: it is not"
                )

    def test_a_stage_that_fails_has_its_reason(self, tmp_path: Path) -> None:
        """Whatever it raises stops neither the executor nor the next stage."""
        with self.executor(tmp_path) as executor:
            ended = self.ended(executor, unreadable(tmp_path / "no-such-folder"))
            assert ended.reason, (
                "report why a stage failed in Finished.reason: run_guarded returns it"
            )
            assert not self.ended(executor, drawn(0)).reason, (
                "run the next stage after one that has failed"
            )


def drawn(seed: int) -> Stage:
    """Make a stage that can run: a dataset that is drawn."""
    return _dataset("embedded", {**_TINY, "seed": seed})


def unreadable(folder: Path) -> Stage:
    """Make a stage that fails: a dataset in a folder that is not there."""
    return _dataset("image-folder", {"root": str(folder)})


def _dataset(name: str, values: dict[str, Any]) -> Stage:
    found = installed().find("dataset", name)
    options = found.info.options.model_validate(values)
    use = PluginUse(
        "dataset",
        name,
        found.origin.distribution,
        found.info.revision,
        options.model_dump(mode="json"),
        options.identity(),
    )
    return Stage(StageKind.DATASET, use, None, content=str(values), label=f"dataset {name}")
