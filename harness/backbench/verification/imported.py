"""Bundles of others in a store: kept whole, checked when they came, shown beside our own rows.

``imported/<SHA-256>/<name>.zip`` below the store. Their records never mix with ours: each bundle
keeps its own plan and its own numbers of seeds, and each of its rows names its source.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from backbench.errors import StoreError, UsageError
from backbench.model import Cell, Plan, StageKind
from backbench.results.leaderboard import Leaderboard
from backbench.store.store import Store
from backbench.system.files import sha256, share
from backbench.verification.bundle import Bundle, open_bundle
from backbench.verification.bundle_check import verify_bundle
from backbench.verification.exporting import export_bundle
from backbench.verification.findings import Findings

#: Gives the leaderboard of a plan from what a bundle holds.
BoardOf = Callable[[Bundle, Plan], Leaderboard]

_FOLDER = "imported"

#: Of a file's name, what is kept.
_NAME = re.compile(r"[^A-Za-z0-9._+-]+")


def import_bundle(source: Path, store: Store) -> tuple[str, Findings]:
    """Check a bundle, and keep it in a store if nothing differs.

    Returns:
        How its rows will be marked, and what was found; it is kept only if nothing differs.

    Raises:
        UsageError: If it is no bundle.
    """
    with open_bundle(source) as bundle:
        found = verify_bundle(bundle)
    digest = sha256(source)
    name = _NAME.sub("-", source.name).lstrip(".") or "bundle.zip"
    if found.differs or any(one[0] == digest for one in _kept(store)):
        return _origin(name, digest), found
    store.prepare()
    parent = store.root / _FOLDER
    parent.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".", dir=parent))
    try:
        share(folder)
        shutil.copyfile(source, folder / name)
        if sha256(folder / name) != digest:
            raise UsageError(f"{source}: has changed while it was read: try again")
        try:
            folder.rename(parent / digest)
        except OSError:
            if not (parent / digest).is_dir():  # else another process was faster
                raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return _origin(name, digest), found


def import_store(
    plan: Plan,
    theirs: Store,
    file: Path,
    ours: Store,
    *,
    profile: str | None = None,
    changes: Sequence[str] = (),
) -> tuple[str, Findings]:
    """Import what another store has of a benchmark, by way of a bundle; see :func:`import_bundle`.

    Raises:
        UsageError: If the other one is no store, or the same.
    """
    if not theirs.exists:
        raise UsageError(f"{theirs.root}: not a backbench store")
    if theirs.root.resolve() == ours.root.resolve():
        raise UsageError(f"{theirs.root}: is the store to import into")
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder, f"{theirs.root.resolve().name}.zip")
        export_bundle(plan, theirs, file, bundle, profile=profile, changes=changes)
        return import_bundle(bundle, ours)


def with_imported(board: Leaderboard, plan: Plan, store: Store, board_of: BoardOf) -> Leaderboard:
    """Put the rows of imported bundles after our own.

    Only bundles of a benchmark of the same name, and of them only rows on datasets of the same
    content, are shown: others measure something else.

    Raises:
        StoreError: If a bundle was changed since it was imported.
    """
    rows = list(board.rows)
    for digest, path in _kept(store):
        if sha256(path) != digest:
            raise StoreError(f"{path}: was changed since it was imported: remove its folder")
        with open_bundle(path) as bundle:
            if bundle.plan.benchmark == plan.benchmark:
                origin = _origin(path.name, digest)
                theirs = board_of(bundle, _with_our_data(bundle.plan, plan))
                rows += (replace(row, origin=origin) for row in theirs.rows if row.seeds)
    return replace(board, rows=tuple(rows)) if len(rows) > len(board.rows) else board


def _with_our_data(theirs: Plan, plan: Plan) -> Plan:
    """Return the part of a bundle's plan that is on data that ours has too."""

    def has_our_data(cell: Cell) -> bool:
        kinds = {key: theirs.stages[key].kind for key in cell.path}
        return all(key in plan.stages for key, kind in kinds.items() if kind is StageKind.DATASET)

    return replace(theirs, cells=tuple(filter(has_our_data, theirs.cells)))


def _origin(name: str, digest: str) -> str:
    return f"{name} (SHA-256 {digest[:16]}…)"


def _kept(store: Store) -> list[tuple[str, Path]]:
    """Return digest and file of each bundle that the store keeps."""
    found = sorted((store.root / _FOLDER).glob("*/*.zip"))
    return [(path.parent.name, path) for path in found if not path.parent.name.startswith(".")]
