"""One JSON record a stage: what was done, by whom, from what, and what came out."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any, Final, TypeVar

from pydantic import TypeAdapter, ValidationError

from backbench.errors import StoreError, is_name
from backbench.model import FROM_JSON, Stage, StageKind
from backbench.store.flags import Raised, flags_from_json
from backbench.store.metadata import KINDS, Metadata

_Kind = TypeVar("_Kind", bound=Metadata)

#: Version of the record's layout.
SCHEMA = 2

_SHA256: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_OF_A_FILE: Final = {"bytes", "sha256"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A finished stage.

    Args:
        key: The stage's key.
        stage: The stage, without the options that its inputs were given.
        metadata: What the stage reports of its artifact: counts, shapes, the target class.
        files: Size and SHA-256 of every file of the artifact.
        read: SHA-256 of every file of each input when the stage read it, by role and name.
        provenance: Versions, commit, device, threads, switches, content of the data: see
            docs/reference/store.md.
        flags: What the sanity checks report of the stage, and of what it was made of.
        report: Numbers of the plugin's own about the stage, by name; not computed again.
        resumed: Epochs that a checkpoint held when the process that finished the stage began.
        wall_s: Wall-clock seconds.
        cpu_s: CPU seconds of the worker process.
        peak_mem_gib: Highest resident memory of the worker process, during the stage or, where the
            system cannot separate stages (``provenance.peak_mem_of``), so far.
        finished: When, UTC, ISO 8601.
        outdated: What has changed since the stage was done; found when it is read, never stored.
    """

    __pydantic_config__ = FROM_JSON

    key: str
    stage: Stage
    metadata: Metadata
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    read: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    flags: tuple[Raised, ...] = ()
    report: Mapping[str, float] = field(default_factory=dict)
    resumed: int = 0
    wall_s: float
    cpu_s: float
    peak_mem_gib: float
    finished: str
    outdated: str = ""

    @property
    def label(self) -> str:
        """The stage's label, for people."""
        return self.stage.label

    @property
    def remedy(self) -> str:
        """The end of an error on the stage's files: the command that makes them again."""
        return f"`backbench run --redo {self.key}` makes it again ({self.label})"

    @property
    def hashes(self) -> dict[str, str]:
        """The SHA-256 of every file of the artifact, by name."""
        return {name: said["sha256"] for name, said in self.files.items()}

    def of(self, kind: type[_Kind]) -> _Kind:
        """Return the metadata of a stage of a known kind.

        Raises:
            StoreError: If the record is that of another kind of stage.
        """
        if not isinstance(self.metadata, kind):
            raise StoreError(f"record {self.key}: is of a {self.stage.kind} stage")
        return self.metadata

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "schema": SCHEMA,
            "key": self.key,
            "stage": self.stage.to_json(),
            "metadata": self.metadata.to_json(),
            "files": {name: dict(said) for name, said in self.files.items()},
            "read": {role: dict(hashes) for role, hashes in self.read.items()},
            "provenance": dict(self.provenance),
            "flags": [flag._asdict() for flag in self.flags],
            **({"report": dict(self.report)} if self.report else {}),
            "resumed": self.resumed,
            "wall_s": self.wall_s,
            "cpu_s": self.cpu_s,
            "peak_mem_gib": self.peak_mem_gib,
            "finished": self.finished,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Record:
        """Read the JSON object.

        Raises:
            ValueError: If it is of another version; if a field is missing, unknown, or of another
                type.
        """
        schema = content.get("schema")
        if schema != SCHEMA or "outdated" in content:
            raise ValueError(f"schema {schema!r}, this backbench has {SCHEMA}")
        fields = {name: value for name, value in content.items() if name != "schema"}
        try:
            kind = StageKind(content["stage"]["kind"])
            fields["stage"] = Stage.with_identities(content["stage"])
            fields["metadata"] = _reader(kind)(content["metadata"])
            fields["flags"] = flags_from_json(content["flags"])
            found: Record = _reader(None)(fields)
        except ValidationError as error:
            problem = error.errors(include_url=False, include_input=False)[0]
            raise ValueError(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}") from None
        except KeyError as error:
            raise ValueError(f"{error} is missing") from None
        except (TypeError, AttributeError) as error:
            raise ValueError(str(error)) from None
        if not _is_below(found.key) or "/" in found.key:
            raise ValueError(f"{found.key!a} is no key")
        for name, said in found.files.items():
            if not _is_file(name, said):
                raise ValueError(f"it describes no file below its artifact as {name!r}")
        return found


def _is_file(name: str, said: object) -> bool:
    """Return whether a name, and a size and a hash, can be those of a file below an artifact."""
    if not isinstance(said, dict) or said.keys() != _OF_A_FILE or not _is_below(name):
        return False
    size, digest = said["bytes"], str(said["sha256"])
    return type(size) is int and size >= 0 and _SHA256.fullmatch(digest) is not None


@lru_cache(maxsize=1024)
def _is_below(name: str) -> bool:
    """Return whether a name leads to a file below a folder; all artifacts have the same few."""
    return "\\" not in name and all(map(is_name, name.split("/")))


@cache
def _reader(kind: StageKind | None) -> Callable[[object], Any]:
    """Return what reads the metadata of a kind of stage, or a record, from JSON values."""
    return TypeAdapter(Record if kind is None else KINDS[kind]).validator.validate_python
