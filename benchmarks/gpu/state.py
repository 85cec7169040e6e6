"""How far a run on a GPU has come: one JSON file, written after every unit."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from backbench.system import files
from backbench.system.json_text import to_json

#: Name of the file in the output folder.
FILE: Final = "state.json"

#: So often a unit may be ended by a slice before it counts as failed.
MOST_SLICES: Final = 3


class Status(StrEnum):
    """How a unit ended."""

    RUNNING = "running"
    PAUSED = "paused"
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(slots=True)
class Unit:
    """The state of a unit.

    Args:
        status: How it ended last.
        result: What it measured, as JSON values.
        error: Why it failed, with the traceback, or why it was skipped.
        seconds: What it took.
        slices: How many slices ended before it did.
    """

    status: Status = Status.RUNNING
    result: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    seconds: float = 0.0
    slices: int = 0


class State:
    """The units of a run by name, kept in a folder.

    Args:
        folder: The output folder.
        settings: What the numbers depend on; a folder of other settings is refused.

    Raises:
        ValueError: If the folder is of other settings.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self._path = folder / FILE
        self.settings = settings
        self.units: dict[str, Unit] = {}
        if self._path.exists():
            said = json.loads(self._path.read_text(encoding="utf-8"))
            if said["settings"] != settings:
                raise ValueError(f"{folder}: is of {said['settings']}: choose another --out")
            self.units = {
                name: Unit(**{**one, "status": Status(one["status"])})
                for name, one in said["units"].items()
            }

    def save(self) -> None:
        """Write the file, by rename."""
        units = {
            name: {slot: getattr(one, slot) for slot in Unit.__slots__}
            for name, one in self.units.items()
        }
        text = to_json({"settings": self.settings, "units": units}, indent=1)
        files.write(self._path, text + "\n")

    def put(self, name: str, unit: Unit) -> None:
        """Note the state of a unit."""
        self.units[name] = unit
        self.save()

    def settle(self) -> None:
        """Note a unit that was running when its process ended: it goes on, but not for ever."""
        for name, unit in self.units.items():
            if unit.status is Status.RUNNING:
                unit.slices += 1
                unit.status = Status.PAUSED
                if unit.slices >= MOST_SLICES:
                    unit.status = Status.FAILED
                    unit.error = unit.error or f"was ended {unit.slices} times before it was done"
                self.put(name, unit)

    def pending(self, names: list[str]) -> list[str]:
        """Return the units that are still to be done, in order."""
        over = {Status.DONE, Status.FAILED, Status.SKIPPED}
        return [one for one in names if one not in self.units or self.units[one].status not in over]
