"""The state of a training at the end of an epoch: one safetensors file, no pickle.

It holds what the next epoch depends on besides the options: parameters, buffers and extra state
of the task (queues and their places among them), the optimizer's state, the state of torch's
generators and the scaler of gradients; and the history so far. All else of an epoch (the order of
the images, their views, the learning rate) follows from the seed and the epoch's number.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from backbench.errors import StoppedError
from backbench.nn.method import TrainingTask
from backbench.plugin.checkpoint import CheckpointFile
from backbench.system import files, stopping
from backbench.system.json_text import to_json
from backbench.system.seal import UNSEALED, is_sealed, seal

_LOG = logging.getLogger(__name__)

#: Version of the file; another one is not read.
FORMAT = 2

_MODEL, _OPTIMIZER, _RANDOM = "model.", "optimizer.", "random."


@dataclass(slots=True)
class Trained:
    """All that changes in the course of a training; ``history`` has one record an epoch."""

    task: TrainingTask
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    device: torch.device
    history: list[dict[str, float]] = field(default_factory=list)


class Checkpoints:
    """Keeps the state of one training in a file, and finds it again.

    Args:
        file: The file; ``None``: nothing is kept.
        identity: What the training is, as JSON values: only its own state is taken up again, and
            only by the code that made it.
        minutes: Least time between two writings.
    """

    def __init__(
        self, file: CheckpointFile | None, identity: Mapping[str, Any], minutes: float
    ) -> None:
        self._path = file.path if file else None
        self._identity = json.loads(to_json({**identity, "code": dict(file.code) if file else {}}))
        self._pause = 60 * minutes
        self._written = time.monotonic()

    def load(self, trained: Trained) -> None:
        """Take up the state that is kept, if there is one; else change nothing.

        A file that is damaged, or of another training, is left alone, and a warning reports it.

        Raises:
            TypeError: If the task has state that cannot be kept.
        """
        if self._path is None:
            return
        _distinct(trained.task)  # report what cannot be kept before the training, not after
        if not self._path.is_file():
            return
        try:
            if not is_sealed(self._path):
                raise ValueError("it is damaged")  # noqa: TRY301 - said below
            tensors, values = _read(self._path)
            if values["format"] != FORMAT or values["identity"] != self._identity:
                raise ValueError("it belongs to another training")  # noqa: TRY301 - said below
            model = _expected(trained.task, tensors)
            state = _optimizer_state(trained.optimizer, tensors, values["optimizer"])
            random = {name: tensors[_RANDOM + name] for name in _generators(trained.device)}
            history = [dict(record) for record in values["history"]]
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            reason = f"it lacks {error}" if isinstance(error, KeyError) else error
            _LOG.warning("%s: not used: %s; training starts anew", self._path, reason)
            return
        trained.task.load_state_dict(model)
        trained.optimizer.load_state_dict(state)
        _lay_out(trained.optimizer)
        trained.scaler.load_state_dict(values["scaler"])
        torch.set_rng_state(random["cpu"])
        if "cuda" in random:
            torch.cuda.set_rng_state(random["cuda"], trained.device)
        trained.history[:] = history

    def save(self, trained: Trained) -> None:
        """Write the state, unless that was done a moment ago.

        Raises:
            StoppedError: When it is written, if this process was asked to stop.
        """
        stops = stopping.requested()
        if self._path is None or (time.monotonic() - self._written < self._pause and not stops):
            return
        tensors, values = _state(trained)
        values |= {"format": FORMAT, "identity": self._identity}
        with files.replacing(self._path) as part:
            save_file(tensors, part, {"backbench": to_json(values), **UNSEALED})
            seal(part)
            files.share(part)  # safetensors allows only the owner to read; a store may be shared
        self._written = time.monotonic()
        if stops:
            raise StoppedError(
                f"it was asked to stop: its checkpoint is of epoch {len(trained.history)}"
            )


def _state(trained: Trained) -> tuple[dict[str, Tensor], dict[str, Any]]:
    tensors = {_MODEL + name: value for name, value in _distinct(trained.task).items()}
    state = trained.optimizer.state_dict()["state"]
    kept: dict[str, Any] = {}
    for number, entries in state.items():
        for name, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"{_OPTIMIZER}{number}.{name}"] = value
            else:
                kept.setdefault(str(number), {})[name] = value
    tensors |= {_RANDOM + name: value for name, value in _generators(trained.device).items()}
    whole = {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in tensors.items()
    }
    scaler = trained.scaler.state_dict()
    return whole, {"optimizer": kept, "scaler": scaler, "history": trained.history}


def _distinct(task: nn.Module) -> dict[str, Tensor]:
    """Return the task's state, each tensor under the first of its names."""
    found: dict[int, tuple[str, Tensor]] = {}
    for name, value in task.state_dict(keep_vars=True).items():
        if not isinstance(value, Tensor):
            raise TypeError(f"{name}: the extra state of a module that trains must be a tensor")
        found.setdefault(id(value), (name, value))
    return dict(found.values())


def _expected(task: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the task's whole state out of a file; every name must be there, and no other."""
    first: dict[int, str] = {}
    state = {}
    for name, value in task.state_dict(keep_vars=True).items():
        source = first.setdefault(id(value), name)
        state[name] = tensors[_MODEL + source]
        if state[name].shape != value.shape:
            raise ValueError(f"{name} has another shape")
    surplus = {name for name in tensors if name.startswith(_MODEL)}
    surplus -= {_MODEL + name for name in first.values()}
    if surplus:
        raise ValueError(f"{min(surplus).removeprefix(_MODEL)} is not part of this training")
    return state


def _optimizer_state(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], kept: Mapping[str, Any]
) -> dict[str, Any]:
    state: dict[int, dict[str, Any]] = {
        int(number): dict(entries) for number, entries in kept.items()
    }
    for name, value in tensors.items():
        if name.startswith(_OPTIMIZER):
            index, _, entry = name.removeprefix(_OPTIMIZER).partition(".")
            state.setdefault(int(index), {})[entry] = value
    parameters = [one for group in optimizer.param_groups for one in group["params"]]
    for number, entries in state.items():
        for entry, value in entries.items():
            whole = isinstance(value, Tensor) and value.ndim
            if number >= len(parameters) or (whole and value.shape != parameters[number].shape):
                raise ValueError(f"{entry} of parameter {number} does not fit")
    return {"state": state, "param_groups": optimizer.state_dict()["param_groups"]}


def _lay_out(optimizer: torch.optim.Optimizer) -> None:
    """Give the optimizer's state the memory layout of its parameters, as one kernel needs it."""
    for parameter, entries in optimizer.state.items():
        for name, value in entries.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                entries[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    with safe_open(path, framework="pt") as file:
        values = json.loads((file.metadata() or {})["backbench"])
        return {name: file.get_tensor(name) for name in file.keys()}, values  # noqa: SIM118


def _generators(device: torch.device) -> dict[str, Tensor]:
    """Return the states of torch's generators."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states
