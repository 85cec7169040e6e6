"""Packages that a plugin needs and that are not installed with backbench."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

from backbench.plugin.infos import ExecutorInfo, ObserverInfo
from backbench.plugin.registry import Registered


def missing_packages(registered: Registered, name: str) -> Iterator[str]:
    """Yield a sentence for each package that a plugin requires and that is not installed.

    ``name`` is that of its table.
    """
    info = registered.info
    if not isinstance(info, ExecutorInfo | ObserverInfo):
        return
    for package, requirement in info.requires.items():
        if importlib.util.find_spec(package) is None:
            yield (
                f"{info.kind} {name!r} needs {package}, which is not installed: "
                f'pip install "{requirement}"'
            )
