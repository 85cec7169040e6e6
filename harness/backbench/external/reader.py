"""Read a checkpoint without running anything that is in it."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from backbench.errors import UsageError
from backbench.system import files

_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error


def weights_file(path: Path) -> Path:
    """Return the file of weights that a user's path means: of our encoders, the folder's."""
    with _reading(path):
        if path.is_dir():
            from backbench.nn.encoder import WEIGHTS, weights_in

            inner = weights_in(path)
            if not inner.is_file():
                raise UsageError(f"{path}: a folder without {WEIGHTS}: name the file of weights")
            return inner
        if not path.is_file():
            raise UsageError(f"{path}: there is no such file")
        return path


def content_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with _reading(path):
        return files.sha256(path)


def check_safetensors(path: Path) -> None:
    """Check that a file is safetensors, without reading its tensors."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(weights_file(path), "np"):
            pass
    except (OSError, SafetensorError) as error:
        raise UsageError(f"{path}: not a safetensors file: {_first_line(error)}") from error


def read_checkpoint(path: Path) -> Mapping[str, Any]:
    """Read a checkpoint: safetensors, or what ``torch.save`` has written.

    Its first bytes decide its kind, not its name. Of a pickle only tensors, numbers, strings
    and plain containers are read; one that requests anything else is refused, and nothing that it
    requests is done.

    Raises:
        UsageError: If it cannot be read, is no checkpoint, or holds more than weights.
    """
    with _reading(path), path.open("rb") as file:
        start = file.read(9)
    if start.startswith((_ZIP, _PICKLE)):
        held = _load(path, mapped=start.startswith(_ZIP))
    elif start[8:] == b"{":
        held = _load_safetensors(path)
    else:
        raise UsageError(
            f"{path}: not a checkpoint: neither safetensors nor a file of torch.save"
            + ("" if start else " (it is empty)")
        )
    if not isinstance(held, Mapping):
        raise UsageError(
            f"{path}: holds a {type(held).__name__}, not a state dict: save "
            "model.state_dict() alone"
        )
    return held


def _load_safetensors(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, ValueError, SafetensorError) as error:
        raise UsageError(f"{path}: damaged, or not safetensors: {_first_line(error)}") from error


def _load(path: Path, *, mapped: bool) -> Any:
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(  # noqa: TID251 - the one reader of strangers' pickles, and it runs none
                path, map_location="cpu", weights_only=True, mmap=mapped
            )
    except Exception as error:
        raise UsageError(f"{path}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """Return in one sentence why torch has refused a file."""
    text = str(error)
    asked = re.search(r"GLOBAL (\S+)", text)
    if asked is not None:
        return (
            f"holds more than weights: its pickle asks for {asked[1].rstrip('.')}, which could run "
            "a stranger's code; nothing of it was run: save its state dict alone, or as safetensors"
        )
    if "TorchScript" in text:
        return "a TorchScript archive, not weights: save its state dict alone"
    inner = text.partition("WeightsUnpickler error:")[2].strip() or text
    reason = ": ".join([type(error).__name__, *inner.splitlines()[:1]])
    return f"damaged, or not a checkpoint of torch.save ({reason})"


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
