"""Stages as jobs: by submitit's local executor, and of a real SLURM where it is installed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("submitit", reason="the extra slurm is not installed")

from backbench.execution.scheduler import Result, execute
from backbench.execution.slurm.executor import SlurmExecutor
from backbench.execution.slurm.options import SlurmOptions
from backbench.model import Plan, Stage
from backbench.plugin import Setup
from backbench.store.store import Store
from backbench.testing.executor import drawn, unreadable
from tests.cluster import slurm

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="jobs are shell scripts"),
]

needs_slurm = pytest.mark.skipif(bool(slurm.reason_against()), reason=slurm.reason_against())


@dataclass
class Driver:
    """A run by the executor, in a folder of its own."""

    folder: Path
    options: dict[str, Any]
    events: list[str] = field(default_factory=list)

    @property
    def store(self) -> Store:
        return Store(self.folder / "store")

    def run(self, *stages: Stage, at_start: Callable[[], None] = lambda: None) -> Result:
        """Run stages; call something when the first job has begun."""
        self.store.prepare()
        plan = Plan("b", {one.key: one for one in stages}, ())
        options = SlurmOptions.model_validate({"time_min": 2, "poll_s": 0.2, **self.options})
        setup = Setup(self.store.root, "cpu")
        watch = threading.Thread(target=self._watch, args=(at_start,))
        watch.start()
        try:
            return execute(plan, self.store, lambda: SlurmExecutor(options, setup), self.emit)
        finally:
            watch.join()

    def emit(self, hook: str, event: object) -> None:
        self.events.append(hook)

    def _watch(self, at_start: Callable[[], None]) -> None:
        if self.options.get("cluster") != "local":
            until(lambda: "RUNNING" in states(self.folder))
            at_start()


def command(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def listed(folder: Path, form: str, *options: str) -> list[str]:
    """Return a column of the queue, of the jobs of a store."""
    names = ",".join(path.name for path in (folder / "store" / "logs" / "slurm").glob("*"))
    words = ("--noheader", "--array", f"--format={form}", f"--name={names or 'none'}", *options)
    return command("squeue", *words).split()


def states(folder: Path) -> list[str]:
    return listed(folder, "%T")


def jobs(folder: Path) -> list[str]:
    return listed(folder, "%i", "--states=RUNNING,PENDING")


def until(happens: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < deadline, command("squeue", "--states=all")
        time.sleep(0.1)


def test_without_slurm_jobs_are_processes_of_this_machine(tmp_path: Path) -> None:
    """Submitit's local executor: one stage is there, and one fails with its reason."""
    bad = unreadable(tmp_path / "nowhere")
    done = Driver(tmp_path, {"cluster": "local", "poll_s": 0.1}).run(drawn(0), bad)
    assert done.executed == [drawn(0).key]
    assert list(done.failed) == [bad.key]
    assert "nowhere" in done.failed[bad.key]
    assert done.usage
    assert "Traceback" in Store(tmp_path / "store").failure(bad.key)["details"]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with slurm.cluster(tmp_path_factory.mktemp("slurm")) as variables:
        yield variables


@pytest.fixture
def driver(tmp_path: Path, cluster: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Driver:
    """Return a driver whose jobs wait for a second before their stage."""
    for name, value in cluster.items():
        monkeypatch.setenv(name, value)
    return Driver(tmp_path, {"setup": ["sleep 1"]})


@needs_slurm
def test_stages_are_jobs_of_an_array(driver: Driver, tmp_path: Path) -> None:
    bad = unreadable(tmp_path / "nowhere")
    seen: list[str] = []
    done = driver.run(drawn(0), bad, at_start=lambda: seen.extend(jobs(tmp_path)))
    assert [one.partition("_")[2] for one in sorted(seen)] == ["0", "1"]
    assert done.executed == [drawn(0).key]
    assert "nowhere" in done.failed[bad.key]
    assert done.repeated == 0


@needs_slurm
@pytest.mark.parametrize("event", ["scancel", "requeue", "down"])
def test_a_stage_gets_over_what_happens_to_its_job(driver: Driver, event: str) -> None:
    def happen() -> None:
        (job,) = jobs(driver.folder)
        if event == "scancel":
            command("scancel", job)
        elif event == "requeue":
            command("scontrol", "requeue", job)
        else:
            node = command("sinfo", "--noheader", "--format=%n").strip()
            command("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
            until(lambda: "RUNNING" not in states(driver.folder))
            command("scontrol", "update", f"nodename={node}", "state=resume")

    done = driver.run(drawn(0), at_start=happen)
    assert done.executed == [drawn(0).key]
    assert done.repeated == (1 if event == "scancel" else 0)


DRIVER = """
import sys
from pathlib import Path
from tests.e2e.test_slurm import Driver, drawn
Driver(Path(sys.argv[1]), {"setup": ["sleep 2"]}).run(drawn(0))
"""


@needs_slurm
def test_jobs_of_a_driver_that_is_killed_are_taken_over(driver: Driver) -> None:
    first = subprocess.Popen([sys.executable, "-c", DRIVER, str(driver.folder)])
    until(lambda: "RUNNING" in states(driver.folder))
    before = listed(driver.folder, "%i")
    first.send_signal(signal.SIGKILL)
    first.wait()
    done = driver.run(drawn(0))
    assert done.executed == [drawn(0).key]
    last = command("squeue", "--noheader", "--states=all", "--format=%A", "--sort=-i").split()[0]
    assert before == [last]  # no other was submitted


@needs_slurm
def test_an_interrupt_cancels_the_jobs(driver: Driver) -> None:
    driver.options["setup"] = ["sleep 60"]
    main = threading.main_thread().ident
    assert main is not None
    # A shell that starts pytest in the background lets it ignore the signal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        done = driver.run(drawn(0), at_start=lambda: signal.pthread_kill(main, signal.SIGINT))
    finally:
        signal.signal(signal.SIGINT, before)
    assert done.interrupted
    until(lambda: not jobs(driver.folder))
