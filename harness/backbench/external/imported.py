"""An encoder from elsewhere as the input of a plan, and the stage that imports it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from backbench.external.encoder_options import ImportOptions, ModuleOptions, normalization
from backbench.external.importing import describe, inspect
from backbench.external.reader import content_of
from backbench.model import NONE, Origin, Stage, StageKind

_Options = TypeVar("_Options", ImportOptions, ModuleOptions)


@dataclass(frozen=True, slots=True)
class Imported(Generic[_Options]):
    """An encoder in a file or in memory, and the hash of it.

    The hash of a module is that of its weights and of its features of a few images. ``origin`` is
    the cell that made the encoder, of one of a zoo.
    """

    options: _Options
    sha256: str
    origin: Origin | None = None

    def stage(self) -> Stage:
        """Return the stage that imports the encoder."""
        file = self.options.weights
        own = getattr(self.options, "layout", "") == "backbench"  # all such files have one name
        return Stage(
            kind=StageKind.IMPORT,
            plugin=self.options.use(),
            seed=None,
            content=self.sha256,
            backbone=self.options.backbone_use(),
            label=f"import {file.parent.name if own else file.name}",
        )


#: An encoder in a file, or in memory.
AnyImported = Imported[ImportOptions] | Imported[ModuleOptions]


@dataclass(frozen=True, slots=True)
class ExternalEncoder:
    """An encoder that was trained elsewhere, with its control.

    Args:
        own: The encoder.
        control: An encoder that was trained alike on clean data; ``None`` where there is none.
    """

    own: AnyImported
    control: AnyImported | None = None

    def is_made_by(self, attack: str) -> bool:
        """Return whether an attack, by its name in the benchmark file, made the encoder."""
        origin = self.own.origin
        return origin is not None and origin.attack == attack != NONE


def open_encoder(
    path: Path, *, usual_size: int, normalize: str | None, **how: Any
) -> tuple[Imported[ImportOptions], list[str]]:
    """Find out what a file of weights is.

    Args:
        path: The file; of our own encoders, their folder.
        usual_size: Side in pixels at which images are evaluated where ``how`` gives none.
        normalize: A normalization as text.
        **how: Further arguments of :func:`backbench.external.importing.inspect`.

    Returns:
        The encoder, and notes on what was taken of the file.

    Raises:
        UsageError: If it cannot be imported.
    """
    from backbench.nn.encoder import mark_of

    wanted = None if normalize is None else normalization(normalize)
    options, taken = inspect(path, usual_size=usual_size, normalize=wanted, **how)
    notes = [describe(options, taken)]
    if mark := mark_of(options.weights):
        notes.append(f"{options.weights.name}: marked as backdoored: {mark}")
    return Imported(options, content_of(options.weights)), notes
