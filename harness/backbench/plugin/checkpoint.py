"""File in which a training keeps its state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class CheckpointFile:
    """The file of a training's state, and the code that the training runs.

    Args:
        path: The file.
        code: SHA-256 of the code of each plugin that does the stage: the state that other code
            made is not taken up.
    """

    path: Path
    code: Mapping[str, str] = field(default_factory=dict)

    def __fspath__(self) -> str:
        """Return the path, so that a plugin may open it like any file."""
        return str(self.path)
