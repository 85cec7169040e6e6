"""The backbones of plugins, by the names by which the options of a training call them.

Options are read where no registry is at hand: in the record of a stage, in the files of an encoder.
So the registry tells this module which backbones there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from backbench.errors import BackbenchError
from backbench.model import PluginUse
from backbench.options.base import Options
from backbench.options.resnets import RESNETS

#: The kind under which a backbone of a plugin enters a stage.
KIND = "backbone"

#: Names of the built-in backbones, which no plugin's can have.
OWN = frozenset({"tiny-resnet", *RESNETS})


@dataclass(frozen=True, slots=True)
class PluginBackbone:
    """A backbone that a plugin announces.

    Args:
        name: Its name.
        distribution: The distribution that it comes from.
        revision: The revision of its record.
        options: The model of its options.
        load: Imports its class.
    """

    name: str
    distribution: str
    revision: int
    options: type[Options]
    load: Callable[[], type[Any]]

    def validated(self, arguments: Mapping[str, Any]) -> Options:
        """Validate arguments.

        Raises:
            ValueError: With every problem of theirs, in one sentence.
        """
        try:
            return self.options.model_validate(dict(arguments))
        except ValidationError as error:
            sentences = [
                f"{'.'.join(map(str, one['loc']))}: {one['msg'].removeprefix('Value error, ')}"
                for one in error.errors(include_url=False)
            ]
            raise ValueError("; ".join(sentences)) from None

    def use(self, arguments: Mapping[str, Any]) -> PluginUse:
        """Return the backbone with its arguments as they enter a stage."""
        options = self.validated(arguments)
        values, identity = options.model_dump(mode="json"), options.identity()
        return PluginUse(KIND, self.name, self.distribution, self.revision, values, identity)


_ANNOUNCED: dict[str, Callable[[], PluginBackbone]] = {}


def announce(name: str, find: Callable[[], PluginBackbone]) -> None:
    """Let options name a backbone, which ``find`` finds or raises a PluginError."""
    _ANNOUNCED[name] = find


def announced() -> Iterable[str]:
    """Return the names of the backbones of plugins."""
    return _ANNOUNCED.keys()


def plugin_backbone(name: str) -> PluginBackbone | None:
    """Return the backbone of a plugin; ``None`` if no plugin has one of this name.

    Raises:
        ValueError: If several plugins have.
    """
    if name not in _ANNOUNCED:
        return None
    try:
        return _ANNOUNCED[name]()
    except BackbenchError as error:
        raise ValueError(str(error)) from error
