"""The executor ``slurm``, with commands of SLURM that pretend: every end that a job can have."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("submitit", reason="the extra slurm is not installed")

from tests.factories import record

from backbench.errors import UsageError
from backbench.execution.messages import encode_signal
from backbench.execution.slurm.executor import SlurmExecutor
from backbench.execution.slurm.options import SlurmOptions
from backbench.model import PluginUse, Stage, StageKind
from backbench.plugin import Finished, Progressed, Setup
from backbench.store.store import Store

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the commands are shell scripts")

#: Commands that note what they are given, and answer from files.
COMMANDS = {
    "srun": "exit 1",
    "sbatch": 'n=$(ls "$SLURM" | grep -c script); cp "$1" "$SLURM/script.$n"\n'
    'if [ -e "$SLURM/refuse" ]; then cat "$SLURM/refuse" >&2; exit 1; fi\n'
    'echo "Submitted batch job 7$n"',
    "squeue": 'if [ -e "$SLURM/silent" ]; then echo no controller >&2; exit 1; fi; cat "$SLURM/queue"',
    "scancel": 'echo "$@" >> "$SLURM/cancelled"',
}


class Slurm:
    """A cluster that pretends, with a store and an executor."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.folder = folder
        self.store = Store(folder / "store")
        self.store.prepare()
        self.options = SlurmOptions.model_validate({"poll_s": 0.01, **options})
        self.queue("")
        self.executor = self.driver()

    def driver(self, **setup: Any) -> SlurmExecutor:
        return SlurmExecutor(self.options, Setup(self.store.root, "cpu", **setup))

    def queue(self, *states: str) -> None:
        """Let the queue show states of elements of the only submission: ``0 RUNNING``."""
        names = [path.name for path in (self.store.root / "logs" / "slurm").glob("*")]
        lines = []
        for state in filter(None, states):
            element, word, *reason = state.split(maxsplit=2)
            why = reason[0] if reason else "None"
            lines.append(f"{names[0]}|{element}|70_{element}|{word}|{why}\n")
        (self.folder / "queue").write_text("other|N/A|6|RUNNING|None\n" + "".join(lines))

    def scripts(self) -> list[str]:
        return [path.read_text() for path in sorted(self.folder.glob("script.*"))]

    def write(self, element: int, *signals: Any) -> None:
        (folder,) = (self.store.root / "logs" / "slurm").iterdir()
        with (folder / f"{element}.signals.jsonl").open("a") as file:
            file.writelines(map(encode_signal, signals))

    def publish(self, stage: Stage) -> None:
        with self.store.writing(stage.key) as folder:
            self.store.publish(folder, record(stage.key, stage=stage))

    def begin(self, *stages: Stage) -> None:
        """Submit stages, and see the first progress of the first."""
        for stage in stages:
            self.executor.submit(stage)
        self.queue()
        self.executor._submit_new()
        self.queue(*(f"{element} RUNNING" for element in range(len(stages))))


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Slurm:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in COMMANDS.items():
        (programs / name).write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM", str(tmp_path))
    return Slurm(tmp_path)


def stage(name: str, kind: StageKind = StageKind.FEATURES, **options: Any) -> Stage:
    use = PluginUse("ssl-method", "byol", "backbench", 1, options, options) if options else None
    return Stage(kind, use, None, content=name, label=name)


ONE = stage("one")


def test_stages_of_the_same_resources_are_one_array(tmp_path: Path, slurm: Slurm) -> None:
    slurm.options = SlurmOptions.model_validate(
        {
            "partition": "main",
            "time_min": 5,
            "setup": ["module load cuda"],
            "stages": {"pretrain": {"gpus": 1, "time_min": 600, "sbatch": {"qos": "long"}}},
        }
    )
    slurm.executor = slurm.driver(stage_memory_gib=3.0)
    for one in (ONE, stage("two"), stage("three", StageKind.PRETRAIN, devices=2)):
        slurm.executor.submit(one)
    slurm.executor._submit_new()
    array, single = slurm.scripts()
    for line in ("array=0-1%2", "time=5", "mem=3GB", "partition=main", "signal=USR2@120"):
        assert f"#SBATCH --{line}\n" in array
    assert "qos" not in array
    assert "gpus" not in array
    assert "\nmodule load cuda\n" in array
    assert "\nexport OMP_NUM_THREADS=1\n" in array
    for line in ("time=600", "gpus-per-node=2", "cpus-per-task=2", "qos=long", "partition=main"):
        assert f"#SBATCH --{line}\n" in single
    assert "array" not in single


def test_progress_and_the_end_come_by_a_file(slurm: Slurm) -> None:
    slurm.begin(ONE)
    slurm.write(0, Progressed(ONE.key, 1, 2, {"loss": 0.5}))
    assert slurm.executor.wait() == Progressed(ONE.key, 1, 2, {"loss": 0.5})
    slurm.publish(ONE)
    slurm.write(0, Finished(ONE.key))
    assert slurm.executor.wait() == Finished(ONE.key)
    assert not list((slurm.store.root / "logs" / "slurm").iterdir())


def test_a_failure_has_the_lines_that_the_job_has_printed(slurm: Slurm) -> None:
    slurm.begin(ONE)
    (folder,) = (slurm.store.root / "logs" / "slurm").iterdir()
    (folder / "70_0_log.out").write_text("a line of the plugin\n")
    slurm.write(0, Finished(ONE.key, "it is broken", "Traceback …", usage=True))
    ended = slurm.executor.wait()
    assert ended == Finished(
        ONE.key, "it is broken", "Traceback …", True, log="a line of the plugin"
    )
    assert folder.exists()


@pytest.mark.parametrize(
    ("state", "words", "flag"),
    [
        ("TIMEOUT", "longer than 60 min, and has no new checkpoint: raise time_min", ""),
        ("OUT_OF_MEMORY", "ended as OUT_OF_MEMORY: raise mem_gib", ""),
        ("CANCELLED", "ended as CANCELLED", "lost"),
        ("NODE_FAIL", "ended as NODE_FAIL", "node_lost"),
        ("PREEMPTED", "ended as PREEMPTED", "stopped"),
        ("FAILED", "ended as FAILED", "lost"),
        ("", "ended as GONE", "lost"),
    ],
)
def test_a_job_that_ends_without_a_word(slurm: Slurm, state: str, words: str, flag: str) -> None:
    slurm.begin(ONE)
    slurm.queue(f"0 {state}" if state else "")
    ended = slurm.executor.wait()
    assert isinstance(ended, Finished)
    assert words in ended.reason
    flags = {name for name in ("lost", "node_lost", "stopped") if getattr(ended, name)}
    assert flags == ({flag} if flag else set())


def test_a_job_that_slurm_holds_is_cancelled_and_begun_anew(slurm: Slurm) -> None:
    slurm.begin(ONE)
    slurm.queue("0 PENDING launch failed requeued held")
    ended = slurm.executor.wait()
    assert isinstance(ended, Finished)
    assert ended.node_lost
    assert (slurm.folder / "cancelled").read_text().split() == ["--quiet", "70_0"]


def test_a_training_that_got_on_is_begun_again(slurm: Slurm) -> None:
    slurm.begin(ONE)
    path = slurm.store.checkpoint(ONE.key)
    path.parent.mkdir()
    path.write_bytes(b"state")
    slurm.queue("0 TIMEOUT")
    ended = slurm.executor.wait()
    assert isinstance(ended, Finished)
    assert (ended.lost, ended.stopped) == (False, True)


def test_a_job_that_slurm_begins_again_is_waited_for(slurm: Slurm) -> None:
    """It was requeued: what its first try has written is not its end."""
    slurm.begin(ONE)
    slurm.write(0, Finished(ONE.key, "it was asked to stop", stopped=True))
    slurm.queue("0 PENDING")
    until = time.monotonic() + 0.05
    while time.monotonic() < until:
        for job in slurm.executor._jobs.values():
            slurm.executor._read(job)
        slurm.executor._look()
    assert not slurm.executor._signals
    slurm.write(0, Progressed(ONE.key, 1, 2))
    assert slurm.executor.wait() == Progressed(ONE.key, 1, 2)
    slurm.queue("0 FAILED")
    ended = slurm.executor.wait()
    assert isinstance(ended, Finished)
    assert ended.lost


def test_a_stop_counts_when_the_job_has_left_the_queue(slurm: Slurm) -> None:
    slurm.begin(ONE)
    slurm.write(0, Finished(ONE.key, "it was asked to stop", stopped=True))
    slurm.queue("0 FAILED")
    ended = slurm.executor.wait()
    assert isinstance(ended, Finished)
    assert (ended.reason, ended.stopped) == ("it was asked to stop", True)


def test_a_record_counts_even_if_no_signal_arrives(slurm: Slurm) -> None:
    slurm.begin(ONE)
    slurm.publish(ONE)
    slurm.queue("0 COMPLETED")
    assert slurm.executor.wait() == Finished(ONE.key)


def test_jobs_of_a_driver_that_died_are_taken_over(slurm: Slurm) -> None:
    two = stage("two")
    slurm.begin(ONE, two)
    slurm.queue("0 CANCELLED", "1 RUNNING")
    later = slurm.driver()
    for one in (ONE, two):
        later.submit(one)
    later._submit_new()
    assert len(slurm.scripts()) == 2  # of the two, only the first was submitted again
    folders = sorted((slurm.store.root / "logs" / "slurm").iterdir(), key=os.path.getmtime)
    slurm.publish(two)
    with (folders[0] / "1.signals.jsonl").open("a") as file:
        file.write(encode_signal(Finished(two.key)))
    assert later.wait() == Finished(two.key)


def test_a_controller_that_is_silent_is_waited_for_and_named_once(
    slurm: Slurm, caplog: pytest.LogCaptureFixture
) -> None:
    slurm.begin(ONE)
    (slurm.folder / "silent").touch()
    for _ in range(3):
        slurm.executor._look()
    (slurm.folder / "silent").unlink()
    slurm.queue("0 NODE_FAIL")
    ended = slurm.executor.wait()
    assert isinstance(ended, Finished)
    assert ended.node_lost
    assert caplog.messages == ["squeue: no controller: its jobs are waited for"]


def test_the_end_of_a_run_cancels_its_jobs(slurm: Slurm) -> None:
    slurm.begin(ONE, stage("two"))
    slurm.queue("0 RUNNING", "1 COMPLETED")
    slurm.executor.close()
    assert (slurm.folder / "cancelled").read_text().split() == ["--quiet", "70_0"]


def test_a_refusal_of_the_cluster_is_the_reason(slurm: Slurm) -> None:
    (slurm.folder / "refuse").write_text("sbatch: error: invalid partition specified: nowhere")
    slurm.executor.submit(ONE)
    ended = slurm.executor.wait()
    assert isinstance(ended, Finished)
    assert "the cluster refuses the job: " in ended.reason
    assert "invalid partition specified: nowhere" in ended.reason


def test_another_writer_ends_the_stage(slurm: Slurm) -> None:
    slurm.begin(ONE)
    (folder,) = (slurm.store.root / "logs" / "slurm").iterdir()
    (folder / "0.signals.jsonl").write_text("hello\n")
    ended = slurm.executor.wait()
    assert isinstance(ended, Finished)
    assert "something else than its job wrote into" in ended.reason


def test_without_slurm_a_run_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slurm: Slurm
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(UsageError, match="squeue is not installed here"):
        slurm.driver()


def test_fp16_needs_a_gpu_of_its_kind_of_stage(slurm: Slurm) -> None:
    half = stage("half", StageKind.PRETRAIN, precision="fp16")
    with pytest.raises(UsageError, match="precision = 'fp16' needs a GPU"):
        slurm.executor.admit([half])
    slurm.options = SlurmOptions.model_validate({"stages": {"pretrain": {"gpus": 1}}})
    slurm.driver().admit([half, stage("many", StageKind.PRETRAIN, devices=64)])
