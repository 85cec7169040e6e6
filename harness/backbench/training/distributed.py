"""Several processes on one machine that train one encoder.

The process that runs the stage is rank 0. It starts the others as plain processes::

    python -P -m backbench.training.distributed

and sends each its work on its standard input: a function ``module:name`` that does the stage's
work for its rank. That pipe stays open for as long as rank 0 lives; when it closes, the others
end themselves. Gradients are averaged by torch's DistributedDataParallel.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from backbench.errors import BackbenchError, LostProcessError, StageError, UsageError
from backbench.nn.method import TrainingTask
from backbench.nn.ranks import ALONE, Ranks
from backbench.system import files
from backbench.system.children import begin_child, end_all, end_at_end_of, how_ended, start_module
from backbench.system.cores import pin_to
from backbench.system.json_text import to_json
from backbench.training.devices import Device

#: Time that a rank waits for the others; rank 0 alone looks for neighbors and writes checkpoints.
_TIMEOUT = timedelta(minutes=30)

#: Seconds that the other ranks have to import torch and to report that they run.
_START_S = 300.0

#: Seconds that the others get to end by themselves, after the training and after a failure.
_END_S, _GRACE_S = 60.0, 2.0

_POLL_S = 0.05


def averaging(task: TrainingTask, device: torch.device) -> Callable[[Any], Tensor]:
    """Return the task's loss, as a function whose gradients are averaged over the ranks.

    Running statistics of batch norms stay each rank's own: those of rank 0 are the encoder's.
    """
    with warnings.catch_warnings():
        # newer versions of torch call the option otherwise; older ones do not know the new name
        warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
        loss: Callable[[Any], Tensor] = nn.parallel.DistributedDataParallel(
            _Loss(task),
            device_ids=[device.index] if device.type == "cuda" else None,
            broadcast_buffers=False,
            gradient_as_bucket_view=True,
        )
    return loss


class _Loss(nn.Module):
    """A task's loss as the forward of a module."""

    def __init__(self, task: TrainingTask) -> None:
        super().__init__()
        self.task = task

    def forward(self, views: Any) -> Tensor:
        return self.task.training_loss(views)


@contextmanager
def together(
    devices: Sequence[Device], target: str, argument: Mapping[str, Any], folder: Path
) -> Iterator[Ranks]:
    """Train with other processes while the context lasts; this one is rank 0.

    Args:
        devices: Device of each rank; with a single one there are no other processes.
        target: ``module:function`` that the others call with (ranks, device, argument).
        argument: JSON values.
        folder: Parent of the temporary folder in which the processes meet.

    Raises:
        UsageError: If there are fewer devices than ranks.
        StageError: If one of the others fails or dies.
    """
    if len(devices) == 1:
        yield ALONE
        return
    count = torch.cuda.device_count()
    gpus = {device.device for device in devices if device.device != "cpu"}
    if gpus and (len(gpus) < len(devices) or len(devices) > count):
        raise UsageError(
            f"devices = {len(devices)}: torch sees {count} GPUs on this machine; ask for fewer"
        )
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix="ranks-") as meeting:
        others = _Others(devices, target, argument, Path(meeting))
        try:
            others.wait_until_there()
            _join(Ranks(0, len(devices)), devices[0].device, Path(meeting))
            others.watch()
            yield Ranks(0, len(devices))
            dist.destroy_process_group()  # at the same time as the others do
            others.wait_until_done()
        except BackbenchError:
            raise
        except Exception as error:
            # torch reports only that a connection broke; which rank died, and why, is elsewhere
            if (reason := others.failure()) is None:
                raise
            raise reason from error
        finally:
            others.close()
            _break_off()  # where it has not come to its end


class _Others:
    """The other ranks, as rank 0 sees them."""

    def __init__(
        self, devices: Sequence[Device], target: str, argument: Mapping[str, Any], meeting: Path
    ) -> None:
        self._meeting = meeting
        self._closing = threading.Event()
        self._processes: list[subprocess.Popen[bytes]] = []
        for rank, device in enumerate(devices[1:], 1):
            process = start_module("backbench.training.distributed", stdin=subprocess.PIPE)
            self._processes.append(process)
            order = {
                "parent": os.getpid(),
                "rank": rank,
                "size": len(devices),
                "device": device.device,
                "cores": device.cores,
                "meeting": str(meeting),
                "target": target,
                "argument": argument,
            }
            assert process.stdin is not None  # noqa: S101 - it is a pipe
            with contextlib.suppress(BrokenPipeError):  # it has died; waiting reports it
                process.stdin.write(to_json(order).encode() + b"\n")
                process.stdin.flush()

    def wait_until_there(self) -> None:
        """Wait until all others are about to join."""
        deadline = time.monotonic() + _START_S
        ranks = range(1, len(self._processes) + 1)
        while not all((self._meeting / f"there-{rank}").exists() for rank in ranks):
            if any(process.poll() is not None for process in self._processes):
                raise self.failure() or StageError("a rank ended before the training began")
            if time.monotonic() > deadline:
                raise StageError(f"a rank did not start within {_START_S:.0f} s")
            time.sleep(_POLL_S)

    def watch(self) -> None:
        """Break off what rank 0 waits for when one of the others is gone."""

        def follow() -> None:
            while not self._closing.wait(_POLL_S):
                if any(process.poll() for process in self._processes):  # an exit code but 0
                    _break_off()
                    return

        threading.Thread(target=follow, daemon=True).start()

    def wait_until_done(self) -> None:
        """Wait until all others have ended, and well."""
        deadline = time.monotonic() + _END_S
        for process in self._processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
        if (reason := self.failure()) is not None:
            raise reason

    def failure(self) -> BackbenchError | None:
        """Return why the first of the others to fail did, if any of them has."""
        deadline = time.monotonic() + _GRACE_S
        while time.monotonic() < deadline and not any(one.poll() for one in self._processes):
            if all(one.poll() == 0 for one in self._processes):
                return None
            time.sleep(_POLL_S)
        codes = {rank: process.poll() for rank, process in enumerate(self._processes, 1)}
        size = len(codes) + 1
        for rank, code in codes.items():
            if code is not None and code < 0:  # then others fail as well, but only because of it
                return LostProcessError(f"rank {rank} of {size} {how_ended(code)}")
        for path in sorted(self._meeting.glob("failure-*"), key=lambda one: one.stat().st_mtime_ns):
            failure = json.loads(path.read_text(encoding="utf-8"))
            return (UsageError if failure["usage"] else StageError)(failure["reason"])
        for rank, code in codes.items():
            if code:
                return StageError(f"rank {rank} of {size} {how_ended(code)}")
        return None

    def close(self) -> None:
        """End all others."""
        self._closing.set()
        for process in self._processes:
            assert process.stdin is not None  # noqa: S101 - it is a pipe
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()  # the process ends itself on that
        end_all(self._processes, _GRACE_S)


def _join(ranks: Ranks, device: str, meeting: Path) -> None:
    cuda = device.startswith("cuda")
    if cuda:
        torch.cuda.set_device(device)
    dist.init_process_group(
        "nccl" if cuda else "gloo",
        init_method=f"file://{meeting / 'rendezvous'}",
        rank=ranks.rank,
        world_size=ranks.size,
        timeout=_TIMEOUT,
        device_id=torch.device(device) if cuda else None,
    )


def _break_off() -> None:
    """Leave the others without waiting for them; they may be gone."""
    if dist.is_initialized():
        with contextlib.suppress(Exception):
            dist.distributed_c10d._abort_process_group()  # noqa: SLF001 - torch has no public way


def main() -> None:
    """Be one of the other ranks."""
    order = json.loads(sys.stdin.buffer.readline())
    end_at_end_of(sys.stdin.fileno())
    begin_child(order["parent"])
    pin_to(order["cores"])
    ranks, meeting = Ranks(order["rank"], order["size"]), Path(order["meeting"])
    try:
        module, _, name = order["target"].partition(":")
        target = getattr(importlib.import_module(module), name)
        (meeting / f"there-{ranks.rank}").touch()
        _join(ranks, order["device"], meeting)
        target(ranks, order["device"], order["argument"])
        dist.destroy_process_group()
    except BaseException as error:  # noqa: BLE001 - rank 0 reports it to the user
        traceback.print_exc()
        reason = str(error)
        if not isinstance(error, BackbenchError):
            reason = f"{type(error).__name__}: {reason}"
        failure = {
            "reason": f"rank {ranks.rank} of {ranks.size}: {reason}",
            "usage": isinstance(error, UsageError),
        }
        files.write(meeting / f"failure-{ranks.rank}", to_json(failure))
        os._exit(1)


if __name__ == "__main__":
    main()
