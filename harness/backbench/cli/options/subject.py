"""The subject of ``report``: a benchmark in a store, or bundles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from backbench.benchmark import DEFAULT_FILE
from backbench.errors import UsageError
from backbench.store.store_folder import MARKER


@dataclass(frozen=True, slots=True)
class Subject:
    """A benchmark file and its store; or bundles, of which there are none then."""

    file: Path
    store: Path
    bundles: tuple[Path, ...] = ()


def subject_of(paths: Sequence[Path], store: Path, *, wants_site: bool) -> Subject:
    """Sort paths into a benchmark file, a store and bundles; of a folder, take its bundles.

    Raises:
        UsageError: If they do not fit together, or a folder has no bundle.
    """
    bundles: list[Path] = []
    others: list[Path] = []
    for path in paths:
        if path.suffix == ".zip":
            bundles.append(path)
        elif path.is_dir() and not (path / MARKER).is_file():
            found = sorted(path.glob("*.zip"))
            if not found:
                raise UsageError(f"{path}: neither a store nor a folder with bundles (*.zip)")
            bundles += found
        else:
            others.append(path)
    stores = [path for path in others if path.is_dir()]
    files = [path for path in others if not path.is_dir()]
    if len(stores) > 1 or len(files) > 1 or (others and bundles):
        raise UsageError("report: name a benchmark file and a store, or bundles")
    if wants_site and not bundles:
        raise UsageError("--site: name bundles, or a folder of them; `backbench export` writes one")
    if len(bundles) > 1 and not wants_site:
        raise UsageError(f"report: {len(bundles)} bundles make a site: say where with --site DIR")
    return Subject(
        files[0] if files else DEFAULT_FILE, stores[0] if stores else store, tuple(bundles)
    )
