"""What a unit of a run on a GPU is given."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class SkippedError(Exception):
    """A unit cannot be done here; the message is the reason."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a unit is given.

    Args:
        out: The output folder.
        device: The torch device that is checked and measured: ``cuda:0``, ``cpu``.
        tiny: Whether everything is as small as it can be, to try the command itself.
        images: CIFAR-10 as a folder of image files; ``None`` where there is none.
        end: When the slice ends, seconds of :func:`time.time`.
    """

    out: Path
    device: str
    tiny: bool
    images: Path | None
    end: float

    @property
    def left(self) -> float:
        """Seconds that are left of the slice."""
        return self.end - time.time()

    @property
    def is_gpu(self) -> bool:
        """Return whether the device is a GPU."""
        return self.device.startswith("cuda")

    @property
    def settings(self) -> dict[str, Any]:
        """What the numbers depend on."""
        return {"device": self.device, "tiny": self.tiny}
