"""The published code as a peer: a scratch copy that runs with today's libraries.

Nobody's code but ours is in this repository. The user fetches
https://github.com/UMBCvision/SSL-Backdoor into a folder and gives its path. A part asks for a copy,
with the few edits that it needs; every edit and shim is listed on the page.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.rounds import ROOT, environment

#: Where a user gets it.
ADDRESS: Final = "https://github.com/UMBCvision/SSL-Backdoor"
VARIABLE: Final = "BACKBENCH_PUBLISHED"

#: What each shim of ``shims/sitecustomize.py`` does, as the page lists it.
SHIMS: Final = {
    "numpy": "np.float is float (gone since NumPy 1.24)",
    "cuda": ".cuda() and torch.cuda.set_device do nothing",
    "gloo": "one process with gloo instead of several with nccl; DistributedDataParallel as it is",
    "faiss": "faiss on the CPU, float32, instead of float16 shards on all GPUs",
    "show": "Image.show opens no viewer",
    "plots": "imports of matplotlib and tqdm succeed where they are not installed",
    "seed": "Python's random is seeded",
}


class PeerMissingError(Exception):
    """A peer is not on this machine; the message says how to get it."""


@dataclass(frozen=True, slots=True)
class Edit:
    """A replacement in a file of the scratch copy.

    Args:
        file: Below the copy.
        old: Text that is there at least once.
        new: What stands there instead, everywhere.
        why: As the page lists it.
    """

    file: str
    old: str
    new: str
    why: str


#: Without these, training and evaluation end in an exception with torch 2.
ALWAYS: Final = tuple(
    Edit(
        file,
        "correct[:k].view(-1)",
        "correct[:k].reshape(-1)",
        "accuracy(): .view(-1) of a transposed tensor is .reshape(-1)",
    )
    for file in ("moco/main_moco.py", "moco/utils.py", "moco/eval_utils.py")
)


@dataclass(frozen=True, slots=True)
class Published:
    """A scratch copy of the published code.

    Args:
        folder: Where the copy lies.
        edits: What was changed in it.
        shims: What its processes do first.
    """

    folder: Path
    edits: tuple[Edit, ...]
    shims: tuple[str, ...]

    def path(self, *parts: str) -> Path:
        """Return a path below the copy."""
        return self.folder.joinpath(*parts)

    def environment(self, *paths: str | Path, **more: str) -> dict[str, str]:
        """Return the environment of a process that runs the published code.

        Args:
            *paths: Folders of the copy that its imports come from, as ``moco``.
            **more: Further variables.
        """
        own = environment()
        folders = [str(ROOT / "benchmarks" / "shims"), *(str(self.path(str(p))) for p in paths)]
        return {
            **own,
            "PYTHONPATH": os.pathsep.join([*folders, own["PYTHONPATH"]]),
            "BACKBENCH_SHIMS": ",".join(self.shims),
            **more,
        }

    @property
    def described(self) -> list[str]:
        """What was changed, for the page."""
        return list(
            dict.fromkeys([*(SHIMS[name] for name in self.shims), *(e.why for e in self.edits)])
        )


def find(given: Path | None) -> Path | None:
    """Return the folder of the published code: the given one, or that of the environment.

    Raises:
        PeerMissingError: If one is named and the code is not in it.
    """
    folder = given or (Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None)
    if folder is not None and not (folder / "moco" / "main_moco.py").is_file():
        raise PeerMissingError(f"{folder} does not hold {ADDRESS}: no moco/main_moco.py")
    return folder


def checkout(
    source: Path | None, scratch: Path, shims: Sequence[str], edits: Sequence[Edit] = ()
) -> Published:
    """Make a scratch copy of the published code, with edits; the user's folder is not touched.

    Args:
        source: The folder that the user fetched.
        scratch: Where the copy goes, under a name made of the edits.
        shims: Names of :data:`SHIMS`.
        edits: Beside those that are always made.

    Raises:
        PeerMissingError: If there is no such folder.
        ValueError: If a text to replace is not there.
    """
    if source is None:
        raise PeerMissingError(
            f"the published code is not here: fetch {ADDRESS} and set {VARIABLE} to its folder"
        )
    changes = (*ALWAYS, *edits)
    name = hashlib.sha256(repr(changes).encode()).hexdigest()[:12]
    folder = scratch / f"published-{name}"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns(".git"))
    for edit in changes:
        file = folder / edit.file
        text = file.read_text(encoding="utf-8")
        if edit.old not in text:
            raise ValueError(f"{edit.file}: {edit.old!r} is not there; is it another version?")
        file.write_text(text.replace(edit.old, edit.new), encoding="utf-8")
    return Published(folder, changes, tuple(shims))
