"""Compare what is installed on two machines: equal keys need equal code."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping

from backbench.errors import PluginError
from backbench.plugin.infos import KINDS
from backbench.plugin.packages import code_of
from backbench.plugin.registry import Registry
from backbench.store.provenance import libraries

#: Kind and name of a plugin that a run uses.
Used = tuple[str, str]

#: The value of what a machine lacks.
_MISSING = "missing"


def installation(registry: Registry, used: Iterable[Used]) -> dict[str, str]:
    """Return versions and source hashes, by name, of all that computes the numbers of a run.

    Args:
        registry: The plugins that are installed here.
        used: Kinds and names of the plugins that the run uses.
    """
    found = {"Python": "{}.{}".format(*sys.version_info)}
    found |= {f"version of {name}": version for name, version in libraries().items()}
    found["source of backbench"] = code_of("backbench")[:16]
    for kind, name in used:
        if kind in KINDS:
            try:
                registered = registry.find(kind, name)
                value = f"{registered.origin.version} {registered.code}".strip()
            except PluginError:
                value = _MISSING
            found[f"{kind} {name!r}"] = value
    return found


def difference(here: Mapping[str, str], there: Mapping[str, str]) -> str:
    """Return how another installation differs: part of a sentence, empty if it does not."""
    names = [name for name in here if here[name] != there.get(name, _MISSING)]
    said = (f"{name} is {there.get(name, _MISSING)} there and {here[name]} here" for name in names)
    return "; ".join(said)
