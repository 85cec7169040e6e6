"""One JSON record a stage: what was done, by whom, from what, and what came out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from backbench.model import Stage

#: Version of the record's layout.
SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A finished stage.

    Args:
        key: The stage's key.
        stage: Kind, plugin, options, seed, inputs and content fingerprint: what the key is of.
        label: For people.
        metadata: What the stage tells about its artifact: counts, shapes, the target class.
        metrics: Numbers of an evaluation, by name; fractions in [0, 1].
        files: Size and SHA-256 of every file of the artifact.
        provenance: Versions, commit, device, threads, switches, content of the data: see
            docs/reference/store.md.
        wall_s: Wall-clock seconds.
        cpu_s: CPU seconds of the worker process.
        peak_mem_gib: Highest resident memory of the worker process, during the stage or, where the
            system cannot tell (``provenance.peak_mem_of``), so far.
        finished: When, UTC, ISO 8601.
    """

    key: str
    stage: Mapping[str, Any]
    label: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    wall_s: float
    cpu_s: float
    peak_mem_gib: float
    finished: str

    def as_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {"schema": SCHEMA, **asdict(self)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Record:
        """Read the JSON object.

        Raises:
            KeyError: If it is of another version.
            TypeError: If a field is missing.
        """
        fields = dict(content)
        if fields.pop("schema", None) != SCHEMA:
            raise KeyError("schema")
        return cls(**fields)


def describe(stage: Stage) -> dict[str, Any]:
    """Return what a stage's key is made of, with all options, for its record."""
    use = stage.plugin
    return {
        "kind": stage.kind.value,
        "plugin": use
        and {
            "kind": use.kind,
            "name": use.name,
            "distribution": use.distribution,
            "revision": use.revision,
            "options": dict(use.options),
        },
        "seed": stage.seed,
        "inputs": dict(stage.inputs),
        "content": stage.content,
    }
