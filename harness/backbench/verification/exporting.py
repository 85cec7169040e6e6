"""Write a bundle."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from backbench.errors import StoreError, UsageError
from backbench.model import Plan, PluginUse
from backbench.store.records import Record
from backbench.store.store import Store
from backbench.system.files import share
from backbench.system.json_text import to_json
from backbench.verification.bundle import (
    CHANGES,
    ENVIRONMENT,
    FORMAT,
    HEADER,
    PLAN,
    TOML,
    VERSION,
    exported,
    plan_as_json,
)
from backbench.verification.identity import without_places

#: The date of every file of a ZIP, as for a file of no known age.
_TIME = (1980, 1, 1, 0, 0, 0)

#: Entries of a record's provenance that differ between stages of one run.
_OF_A_STAGE = ("plugin", "plugin_code", "plugins", "data", "peak_mem_of", "peak_gpu_mem_gib")


def export_bundle(
    plan: Plan,
    store: Store,
    benchmark: Path,
    out: Path,
    *,
    profile: str | None = None,
    changes: Sequence[str] = (),
) -> tuple[list[str], list[str]]:
    """Write what others need to check the numbers of a plan; the same store gives the same bytes.

    Damaged stages are left out, and all that depend on them. ``profile`` and ``changes`` are those
    by which the file gives the plan.

    Returns:
        The keys of the stages that are not in the bundle, and what is damaged.

    Raises:
        UsageError: If no cell is finished, or the bundle cannot be written.
    """
    if out.exists():
        raise UsageError(f"{out}: is there already: choose another name with --out")
    records: dict[str, Record] = {}
    artifacts: dict[str, bytes] = {}
    damaged = []
    for key, stage in plan.stages.items():  # each after those that it reads
        try:
            record = store.record(key)
            if record is None or not set(stage.inputs.values()) <= records.keys():
                continue
            artifacts |= {
                f"artifacts/{key}/{name}": _read(store, record, name, said["sha256"])
                for name, said in record.files.items()
                if exported(record.stage.kind, name)
            }
            records[key] = record
        except StoreError as error:
            damaged.append(str(error))
    if not any(cell.evaluation in records for cell in plan.cells):
        raise UsageError(f"{store.root}: no finished cell of {plan.benchmark!r}: run it first")
    files: dict[str, bytes] = {
        TOML: benchmark.read_bytes(),
        PLAN: as_bytes(plan_as_json(plan)),
        ENVIRONMENT: as_bytes(environments(records.values())),
        **artifacts,
    }
    for key, record in records.items():
        files[f"records/{key}.json"] = as_bytes(_published(record, plan).to_json())
    header = {
        "format": FORMAT,
        "version": VERSION,
        "benchmark": plan.benchmark,
        "profile": profile,
        **({CHANGES: list(changes)} if changes else {}),
        "files": {name: described(content) for name, content in sorted(files.items())},
    }
    write_bundle(out, {HEADER: as_bytes(header), **dict(sorted(files.items()))})
    return [key for key in plan.stages if key not in records], damaged


def described(content: bytes) -> dict[str, Any]:
    """Return size and SHA-256."""
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def as_bytes(content: Any) -> bytes:
    """Return JSON."""
    return (to_json(content, indent=1) + "\n").encode()


def write_bundle(out: Path, files: Mapping[str, bytes]) -> None:
    """Write a ZIP file of the given content and nothing else, by rename.

    Raises:
        UsageError: If it cannot be written.
    """
    try:
        handle, name = tempfile.mkstemp(prefix=f".{out.name}-", dir=out.parent)
    except OSError as error:
        raise UsageError(f"{out}: cannot be written ({error.strerror})") from error
    try:
        with os.fdopen(handle, "wb") as file, zipfile.ZipFile(file, "w") as archive:
            for path, content in files.items():
                entry = zipfile.ZipInfo(path, _TIME)
                entry.create_system = 3
                entry.external_attr = 0o100644 << 16
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, content, compresslevel=9)
        share(Path(name))
        Path(name).replace(out)
    except BaseException as error:
        Path(name).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = os.fspath(out)  # a full disk does not report where
        raise


def _published(record: Record, plan: Plan) -> Record:
    """Return a record without the folders of this machine."""
    planned = {(use.kind, use.name): use.identity for use in plan.stages[record.key].uses}

    def published(use: PluginUse) -> PluginUse:
        identity = planned.get((use.kind, use.name), {})
        return replace(use, options=without_places(use.options, identity))

    return replace(record, stage=record.stage.changed(published))


def _read(store: Store, record: Record, name: str, sha256: str) -> bytes:
    path = store.artifact(record.key) / name
    content = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(content).hexdigest() != sha256:
        raise StoreError(f"{path}: is missing, or not what its record says: {record.remedy}")
    return content


def environments(records: Iterable[Record]) -> list[dict[str, Any]]:
    """Return the distinct environments in which stages ran, the most frequent first."""
    counts = Counter(
        to_json(
            {name: value for name, value in one.provenance.items() if name not in _OF_A_STAGE},
            sort_keys=True,
        )
        for one in records
    )
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [{"stages": count, **json.loads(text)} for text, count in ordered]
