"""A second process that fails; it imports nothing that takes time."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from backbench.errors import DataError


def fail(_ranks: Any, _device: str, order: Mapping[str, Any]) -> None:
    """Fail in the way that the first process names."""
    match order["how"]:
        case "raise":
            raise ValueError("no such image")
        case "usage":
            raise DataError("a.jpg: not an image")
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "sleep":
            Path(order["here"]).write_text(str(os.getpid()), encoding="utf-8")
            time.sleep(600)
