"""A SLURM cluster of this machine alone: munged, slurmctld and slurmd, one node of two slots.

``python -m tests.cluster.slurm FOLDER`` starts one and prints the variable by which its commands
find it; Ctrl-C ends it.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel")

#: Seconds in which a daemon must answer.
START_S = 30.0

CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=cred_expire=10,socket={folder}/munge.socket
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/builtin
SchedulerParameters=sched_interval=1,sched_min_interval=0,batch_sched_delay=0
SlurmdParameters=config_overrides
ReturnToService=0
KillWait=3
JobRequeue=1
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def reason_against() -> str:
    """Return why no cluster can be started here; empty if one can."""
    missing = [name for name in PROGRAMS if _program(name) is None]
    if missing:
        return f"not installed: {', '.join(missing)}"
    return "" if os.geteuid() == 0 else "slurmd must be started by root"


@contextmanager
def cluster(folder: Path) -> Iterator[dict[str, str]]:
    """Run a cluster; give the variables by which SLURM's commands find it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("state", "spool"):
        (folder / name).mkdir(exist_ok=True)
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o600)
    host = socket.gethostname().partition(".")[0]
    conf = folder / "slurm.conf"
    conf.write_text(CONF.format(host=host, folder=folder, ports=_free_ports(2)), encoding="utf-8")
    variables = {"SLURM_CONF": str(conf)}
    with ExitStack() as stack:
        munge = {name: folder / f"munge.{name}" for name in ("socket", "pid", "log", "seed")}
        options = [
            f"--{option}={munge[name]}"
            for option, name in {
                "socket": "socket",
                "pid-file": "pid",
                "log-file": "log",
                "seed-file": "seed",
            }.items()
        ]
        for command in (
            ["munged", "--foreground", "--force", f"--key-file={key}", *options],
            ["slurmctld", "-D", "-f", str(conf)],
            ["slurmd", "-D", "-N", host, "-f", str(conf)],
        ):
            stack.enter_context(_daemon(command, folder, variables))
            if command[0] == "munged":
                _until(munge["socket"].exists, "munged", folder)
        _until(lambda: _idle(variables), "the node", folder)
        try:
            yield variables
        finally:
            _cancel_all(variables)


@contextmanager
def _daemon(command: Sequence[str], folder: Path, variables: dict[str, str]) -> Iterator[None]:
    program = _program(command[0])
    assert program is not None
    with (folder / f"{command[0]}.out").open("wb") as out:
        process = subprocess.Popen(
            [program, *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env={**os.environ, **variables},
            start_new_session=True,
        )
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _idle(variables: dict[str, str]) -> bool:
    done = subprocess.run(
        ["sinfo", "--noheader", "--format=%T"],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() == "idle"


def _cancel_all(variables: dict[str, str]) -> None:
    """Cancel all jobs and wait until they have ended: no process of theirs is left."""
    environment = {**os.environ, **variables}
    subprocess.run(["scancel", "--signal=KILL", "--user=root"], env=environment, check=False)
    subprocess.run(["scancel", "--user=root"], env=environment, check=False)
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        left = subprocess.run(
            ["squeue", "--noheader"], env=environment, capture_output=True, check=False
        )
        if not left.stdout.strip():
            return
        time.sleep(0.2)


def _until(happens, what: str, folder: Path) -> None:
    deadline = time.monotonic() + START_S
    while not happens():
        if time.monotonic() > deadline:
            logs = "\n".join(
                f"{path.name}: {path.read_text(errors='replace')[-2000:]}"
                for path in sorted(folder.glob("*.out"))
            )
            raise RuntimeError(f"{what} does not answer\n{logs}")
        time.sleep(0.1)


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


if __name__ == "__main__":
    with cluster(Path(sys.argv[1]).absolute()) as found:
        print(*(f"export {name}={value}" for name, value in found.items()), flush=True)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with suppress(KeyboardInterrupt):
            while True:
                signal.pause()
