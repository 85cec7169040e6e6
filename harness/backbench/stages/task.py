"""Inputs and outcome of a stage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backbench.errors import StageError, UsageError
from backbench.model import PluginUse, Stage, StageKind
from backbench.plugin import Options, PluginInfo
from backbench.plugin.checkpoint import CheckpointFile
from backbench.plugin.infos import KINDS
from backbench.plugin.registry import FILES, Registered, Registry
from backbench.results.outdated import CODES
from backbench.store.flags import Flag
from backbench.store.metadata import Metadata, PoisonRecord
from backbench.store.records import Record
from backbench.store.store import Store
from backbench.training.devices import Device

Progress = Callable[[int, int, Mapping[str, float]], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Fields of a stage's record besides the usual."""

    metadata: Metadata
    flags: tuple[Flag, ...] = ()
    report: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Task:
    """One stage, ready to run.

    Args:
        stage: What to do.
        store: Where its inputs are.
        folder: Where its artifact is written.
        registry: The installed plugins.
        device: Name of the torch device.
        progress: Call it with (done, total, values).
        others: Devices of further processes of this stage, if it requests some.
    """

    stage: Stage
    store: Store
    folder: Path
    registry: Registry
    device: str
    progress: Progress
    others: tuple[Device, ...] = ()

    @property
    def code(self) -> dict[str, str]:
        """Code of the plugins that do the stage, as the provenance of its record names it."""
        uses = {CODES[role]: getattr(self.stage, role) for role in CODES}
        return {
            code: self.registry.find(use.kind, use.name).code
            for code, use in uses.items()
            if use is not None and use.kind in KINDS
        }

    @property
    def checkpoint(self) -> CheckpointFile:
        """File in which a training of this stage may keep its state."""
        return CheckpointFile(self.store.checkpoint(self.stage.key), self.code)

    def has(self, role: str) -> bool:
        """Return whether the stage reads an input of this role."""
        return role in self.stage.inputs

    def input(self, role: str) -> Path:
        """Return the artifact folder of an input."""
        return self.store.artifact(self.stage.inputs[role])

    def record(self, role: str) -> Record:
        """Return the record of an input."""
        key = self.stage.inputs[role]
        record = self.store.record(key)
        if record is None:
            raise StageError(f"input {role} ({key}) is not in the store")
        return record

    @property
    def seed(self) -> int:
        """Seed of every draw of this stage."""
        if self.stage.seed is None:
            raise StageError(f"a {self.stage.kind} stage draws nothing")
        return self.stage.seed

    @property
    def mark(self) -> str:
        """The attack whose backdoor an encoder of this stage has or had; empty if it is clean."""
        if self.stage.kind is StageKind.IMPLANT and self.stage.plugin:
            return f"the attack {self.stage.plugin.name} has changed its weights"
        if self.has("poison"):
            record = self.record("poison")
            said, use = record.of(PoisonRecord), record.stage.plugin
            target = f", target class {said.target_name}" if said.target_name else ""
            return (
                f"it was trained on {said.poisons} images poisoned by the attack "
                f"{use.name if use else ''}{target}"
            )
        if not self.has("encoder"):
            return ""
        from backbench.nn.encoder import mark_of, weights_in

        return mark_of(weights_in(self.input("encoder")))

    def plugin(self) -> tuple[type[Any], Any, PluginInfo]:
        """Return the plugin's class, its validated options and its record."""
        if self.stage.plugin is None:
            raise StageError(f"a {self.stage.kind} stage has no plugin")
        return self._implementation_of(self.stage.plugin)

    def guard(self) -> tuple[type[Any], Any, PluginInfo] | None:
        """Return the same of the defense that wraps a training's method; ``None`` without."""
        return self._implementation_of(self.stage.guard) if self.stage.guard else None

    def _implementation_of(self, use: PluginUse) -> tuple[type[Any], Any, PluginInfo]:
        registered, options = _validated(self.registry, use.kind, use.name, use.options)
        if registered.identity(options).get(FILES) != use.identity.get(FILES):
            raise UsageError(f"a file of {registered} has changed since it was planned: run again")
        return registered.implementation(), options, registered.info

    def plugin_of(self, role: str) -> tuple[type[Any], Any, PluginInfo]:
        """Return the same of an input, its files where this benchmark has them."""
        use = self.record(role).stage.plugin
        if use is None:
            raise StageError(f"the stage of the input {role} has no plugin")
        options = self.stage.given.get(role, use.options)
        registered, validated = _validated(self.registry, use.kind, use.name, options)
        return registered.implementation(), validated, registered.info


def _validated(
    registry: Registry, kind: str, name: str, options: Mapping[str, Any]
) -> tuple[Registered, Options]:
    """Find a plugin and validate the options it is used with."""
    registered = registry.find(kind, name)
    return registered, registered.info.options.model_validate(dict(options))
