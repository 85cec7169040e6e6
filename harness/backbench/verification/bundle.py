"""A bundle: one ZIP file with what others need to check numbers.

::

    bundle.json             format, benchmark, profile; size and SHA-256 of every other file
    benchmark.toml          the benchmark file
    plan.json               cells, and what the key of each stage is of
    environment.json        the environments in which stages ran, and how many in each
    records/<key>.json      the records, the folders of the machine left out
    artifacts/<key>/…       indices of datasets, manifests, scores of defenses, verdicts and their
                            evidence, predictions, classes: no images and no weights, whose hashes
                            are in the records

A bundle is read in memory: nothing of it is ever written to a disk or run.
"""

from __future__ import annotations

import dataclasses
import io
import re
import stat
import struct
import zipfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, Final

from backbench.errors import NOT_A_NAME, UsageError, is_name
from backbench.model import (
    NONE,
    VARIANT_NAME,
    Cell,
    CellName,
    Detection,
    Origin,
    Plan,
    Stage,
    StageKind,
)
from backbench.results.detectors import SCORES
from backbench.store.predictions import PREDICTIONS
from backbench.store.records import Record
from backbench.system.files import open_regular
from backbench.verification.evidence import AT_HAND, parse_json
from backbench.verification.findings import MALFORMED

#: Marks a file as a bundle, with its version.
FORMAT = "backbench-bundle"
VERSION = 1

#: In the header, the changes of the benchmark file that the plan is of, if there are any.
CHANGES = "changes"

HEADER, TOML, PLAN, ENVIRONMENT = "bundle.json", "benchmark.toml", "plan.json", "environment.json"

_ARTIFACTS = {
    StageKind.DATASET: r"index\.json",
    StageKind.POISON: r"(train|val)\.jsonl",
    StageKind.SANITIZE: r"scores\.safetensors",
    StageKind.DETECT: r"scores\.safetensors",
    StageKind.INSPECT: r"verdict\.json|evidence\.safetensors",
    StageKind.PREDICT: rf"predictions\.npz|classes\.json|classes(_{VARIANT_NAME})?\.csv",
}

_NAME = re.compile(
    r"(bundle|plan|environment)\.json|benchmark\.toml|records/[0-9a-f]{32}\.json|"
    rf"artifacts/[0-9a-f]{{32}}/({'|'.join(_ARTIFACTS.values())})",
    re.ASCII,
)

#: Most files, bytes of one file and bytes of all; and how much smaller than its content a large
#: bundle may be (predictions and manifests come to about a third).
MOST_FILES = 100_000
MOST_BYTES = 2**28
MOST_BYTES_IN_ALL = 2**33
SMALL, MOST_COMPRESSION = 2**26, 100

#: Exceptions that opening a damaged or a forged ZIP file raises.
_NO_ZIP: Final = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    OverflowError,
    ValueError,
)


def exported(kind: StageKind, name: str) -> bool:
    """Return whether a file of a stage's artifact, by its path in there, goes into a bundle."""
    pattern = _ARTIFACTS.get(kind)
    return pattern is not None and re.fullmatch(pattern, name, re.ASCII) is not None


class Bundle:
    """An open bundle; every name in its archive is one that a bundle may have, once.

    Raises:
        UsageError: If it is none, or of another version.
    """

    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self.path = path
        self._archive = archive
        self.names = frozenset(archive.namelist())
        #: Gives a stage's record, or ``None``.
        self.record = lru_cache(maxsize=AT_HAND)(self._record)
        #: The files of each stage's artifact, by its key.
        self.artifacts: Mapping[str, set[str]] = defaultdict(set)
        for name in self.names:
            if name.startswith("artifacts/"):
                _, key, file = name.split("/", 2)
                self.artifacts[key].add(file)
        for name in (HEADER, PLAN, TOML, ENVIRONMENT):
            if name not in self.names:
                raise UsageError(f"{path}: not a bundle of backbench: it has no {name}")
        try:
            self.header: Mapping[str, Any] = self.json(HEADER)
            if self.header.get("format") != FORMAT or self.header.get("version") != VERSION:
                raise UsageError(
                    f"{path}: a bundle of version {self.header.get('version')!r}, this backbench "
                    f"reads {VERSION}"
                )
            self.files: Mapping[str, Mapping[str, Any]] = dict(self.header["files"])
            self.plan = plan_from_json(self.json(PLAN))
        except MALFORMED as error:
            raise UsageError(f"{path}: {HEADER} or {PLAN} cannot be read: {error}") from error

    def content(self, name: str) -> bytes:
        """Return a file.

        Raises:
            KeyError: If it is not there.
            UsageError: If it cannot be unpacked, or is larger than its header states.
        """
        said = self._archive.getinfo(name).file_size
        try:
            with self._archive.open(name) as file:
                content = file.read(said + 1)
        except _NO_ZIP as error:
            raise UsageError(f"{self.path}: {name} cannot be unpacked: {error}") from error
        if len(content) != said:
            raise UsageError(f"{self.path}: {name} has another size than it says")
        return content

    def json(self, name: str) -> dict[str, Any]:
        """Return a file's JSON object."""
        content = parse_json(self.content(name))
        if not isinstance(content, dict):
            raise TypeError(f"{name}: not a JSON object")
        return content

    def _record(self, key: str) -> Record | None:
        name = f"records/{key}.json"
        return Record.from_json(self.json(name)) if name in self.names else None

    def read(self, key: str, name: str) -> bytes:
        """Return a file of a stage's artifact.

        Raises:
            KeyError: If it is not there.
            UsageError: If it cannot be unpacked, or would come to too many bytes.
        """
        content = self.content(f"artifacts/{key}/{name}")
        if name == PREDICTIONS:
            self._refuse_large(content)
        return content

    def predictions(self, record: Record) -> io.BytesIO | None:
        """Return an evaluation's file of predictions, or ``None``."""
        if f"artifacts/{record.key}/{PREDICTIONS}" not in self.names:
            return None
        return io.BytesIO(self.read(record.key, PREDICTIONS))

    def scores(self, record: Record) -> bytes | None:
        """Return a detector's file of scores, or ``None``."""
        there = f"artifacts/{record.key}/{SCORES}" in self.names
        return self.read(record.key, SCORES) if there else None

    def _refuse_large(self, content: bytes) -> None:
        """Refuse compressed predictions that would come to more bytes than any file may have."""
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                entries = archive.infolist()
        except _NO_ZIP as error:
            raise ValueError(f"{PREDICTIONS} cannot be read: {error}") from error
        total = sum(entry.file_size for entry in entries)
        if total > MOST_BYTES:
            raise UsageError(
                f"{self.path}: refused: {PREDICTIONS!r} would unpack to {total} bytes, and "
                f"{MOST_BYTES} at most are read"
            )


@contextmanager
def open_bundle(path: Path) -> Iterator[Bundle]:
    """Open a bundle, perhaps a stranger's.

    Raises:
        UsageError: If it is no bundle, or holds anything that a bundle must not.
    """
    try:
        with open_regular(path) as file, _opened(path, file) as archive:
            _refuse(path, archive)
            yield Bundle(path, archive)
    except FileNotFoundError:
        raise UsageError(f"{path}: there is no such bundle") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror or error})") from error


def _opened(path: Path, file: BinaryIO) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(file)
    except _NO_ZIP as error:
        raise UsageError(f"{path}: not a ZIP file that can be read: {error}") from error


def _refuse(path: Path, archive: zipfile.ZipFile) -> None:
    """Refuse whatever a bundle does not have, by its list of contents.

    Raises:
        UsageError: Naming the first such thing.
    """
    entries = archive.infolist()
    if len(entries) > MOST_FILES:
        count = len(entries)
        raise UsageError(f"{path}: refused: {count} files, and {MOST_FILES} at most are read")
    for entry in entries:
        mode = entry.external_attr >> 16
        rules = (
            (entry.orig_filename == entry.filename, "its name is not a plain one"),
            (_NAME.fullmatch(entry.filename), "a bundle has no file of this name"),
            (not stat.S_IFMT(mode) or stat.S_ISREG(mode), "it is not a plain file"),
            (not entry.flag_bits & 0x1, "it is encrypted"),
            (
                entry.compress_type in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED},
                "it is compressed in another way than ZIP files usually are",
            ),
            (
                entry.file_size <= MOST_BYTES,
                f"it has {entry.file_size} bytes, and {MOST_BYTES} at most are read",
            ),
        )
        for holds, why in rules:
            if not holds:
                raise UsageError(f"{path}: refused: {entry.orig_filename!r}: {why}")
    name, count = (
        Counter(entry.filename for entry in entries).most_common(1)[0] if entries else ("", 0)
    )
    if count > 1:
        raise UsageError(f"{path}: refused: {name!r} is in it {count} times")
    total, packed = sum(entry.file_size for entry in entries), path.stat().st_size
    if total > MOST_BYTES_IN_ALL or total > max(SMALL, MOST_COMPRESSION * packed):
        raise UsageError(f"{path}: refused: its {packed} bytes would unpack to {total}")


# -- the plan ----------------------------------------------------------------------------------

#: Characters that are shown of a wrong name.
_SHOWN: Final = 200

#: Entry of the plan for the origins of encoders of a zoo, where there are any.
ORIGINS: Final = "origins"

_NAMES = tuple(field.name for field in dataclasses.fields(CellName))


def plan_as_json(plan: Plan) -> dict[str, Any]:
    """Return a plan as JSON values: of each stage, what its key is of."""
    return {
        "benchmark": plan.benchmark,
        "protocol": plan.protocol,
        "cells": [
            {
                **dataclasses.asdict(cell.name),
                "path": list(cell.path),
                "control": cell.control,
                "detections": list(cell.detections),
            }
            for cell in plan.cells
        ],
        "stages": {key: _published(stage).to_json() for key, stage in plan.stages.items()},
        **(
            {ORIGINS: {key: one._asdict() for key, one in plan.origins.items()}}
            if plan.origins
            else {}
        ),
    }


def _as_json(origins: Mapping[str, Origin]) -> dict[str, Any]:
    return {key: one._asdict() for key, one in origins.items()}


def _published(stage: Stage) -> Stage:
    """Return what a stage's key is of; options outside the keys name places of this machine."""
    keyed = stage.changed(lambda use: dataclasses.replace(use, options=use.identity))
    return dataclasses.replace(keyed, label=stage.kind.value, given={})


def plan_from_json(content: Mapping[str, Any]) -> Plan:
    """Read what :func:`plan_as_json` gave; options outside the keys are not known."""
    if not is_name(content["benchmark"]) or not is_name(content["protocol"] or NONE):
        raise ValueError(f"its benchmark or protocol is {NOT_A_NAME}")
    cells = []
    for cell in content["cells"]:
        name = CellName(**{one: cell[one] for one in _NAMES if one in cell})
        if type(name.seed) is not int or not all(map(is_name, name.row.values())):
            raise ValueError(f"a name of the cell {str(name)[:_SHOWN]} is {NOT_A_NAME}")
        detections = tuple(Detection(*pair) for pair in cell.get("detections", ()))
        cells.append(Cell(name, tuple(cell["path"]), cell["control"], detections))
    stages = {key: _published(Stage.from_json(said)) for key, said in content["stages"].items()}
    origins = {key: _origin(said) for key, said in content.get(ORIGINS, {}).items()}
    return Plan(content["benchmark"], stages, tuple(cells), content["protocol"], origins)


def _origin(said: Mapping[str, Any]) -> Origin:
    origin = Origin(**said)
    if type(origin.seed) is not int or not all(map(is_name, origin[:3])):
        raise ValueError(f"an origin has a name that is {NOT_A_NAME}")
    return origin
