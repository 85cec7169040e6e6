"""The lines of JSON between the local executor and its workers: orders there, signals back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from backbench.model import Stage
from backbench.plugin.executor import Finished, Progressed, Signal
from backbench.system.json_text import to_json
from backbench.training.devices import Device

#: A stage, and where its further processes may run.
Order = tuple[Stage, tuple[Device, ...]]


def encode_order(stage: Stage, others: Sequence[Device] = ()) -> str:
    """Return a stage, and where its further processes may run, as a line of JSON."""
    return to_json({"stage": stage.to_json(), "others": others}) + "\n"


def decode_order(line: str) -> Order:
    """Read what :func:`encode_order` gave."""
    fields: dict[str, Any] = json.loads(line)
    others = (Device(device, tuple(cores)) for device, cores in fields["others"])
    return Stage.from_json(fields["stage"]), tuple(others)


def encode_signal(signal: Signal) -> str:
    """Return a signal as a line of JSON."""
    return json.dumps({"type": type(signal).__name__, **asdict(signal)}) + "\n"


def decode_signal(line: str) -> Signal:
    """Read a signal from a line of JSON.

    Raises:
        ValueError: If it is none.
    """
    try:
        fields: dict[str, Any] = json.loads(line)
        if fields.pop("type") == "Progressed":
            values = {name: float(value) for name, value in fields["values"].items()}
            return Progressed(fields["key"], int(fields["done"]), int(fields["total"]), values)
        fields |= {name: str(fields[name]) for name in ("reason", "details")}
        return Finished(**fields)
    except Exception as error:
        raise ValueError("no signal") from error
