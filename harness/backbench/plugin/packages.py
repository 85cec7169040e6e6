"""The installed distributions that have plugins: their entry points, versions and code."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.machinery import EXTENSION_SUFFIXES, SOURCE_SUFFIXES
from importlib.metadata import Distribution, EntryPoint, distributions
from pathlib import Path

from backbench.plugin.calling import sentence_of
from backbench.system.files import sha256

#: The group of entry points in which plugins announce themselves.
GROUP = "backbench"

#: Endings of files of code.
_CODE = (*SOURCE_SUFFIXES, *EXTENSION_SUFFIXES)


@dataclass(frozen=True, slots=True)
class Origin:
    """The distribution and version that a plugin comes from."""

    distribution: str
    version: str
    entry_point: str

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}".rstrip()


@dataclass(frozen=True, slots=True)
class Failure:
    """A plugin, or one of its records, that cannot be used; or a distribution that is damaged."""

    origin: Origin
    reason: str

    def __str__(self) -> str:
        plugin = f"plugin {self.origin.entry_point!r} of " if self.origin.entry_point else ""
        return f"{plugin}{self.origin}: {self.reason}"


def installed_points(failures: list[Failure]) -> Iterator[EntryPoint]:
    """Yield our group's entry points of all distributions; add what is wrong with damaged ones.

    The standard library's ``entry_points`` raises at the first damaged one. Of two distributions
    of one name the first on the path counts, as there.
    """
    seen: set[str] = set()
    for one in distributions():
        try:
            if f"[{GROUP}]" in (one.read_text("entry_points.txt") or ""):
                name, _ = _released(one)
                yield from () if name in seen else one.entry_points.select(group=GROUP)
                seen.add(name)
        except Exception as error:  # noqa: BLE001 - whatever a damaged file leads to
            where = Origin(str(getattr(one, "_path", "a distribution without a path")), "", "")
            failures.append(
                Failure(where, f"{sentence_of(error)}: passed over; reinstall or remove it")
            )


@functools.cache
def _released(distribution: Distribution) -> tuple[str, str]:
    """Return a distribution's name and version; parsing its METADATA, with its README, is slow."""
    whole = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO")
    fields = distribution.metadata if whole else None
    if fields is None or "Name" not in fields or "Version" not in fields:
        raise ValueError("its METADATA lacks its name or version")
    return fields["Name"], fields["Version"]


def origin_of(point: EntryPoint) -> Origin:
    """Return where an entry point comes from."""
    if point.dist is None:
        return Origin("unknown", "", point.name)
    return Origin(*_released(point.dist), point.name)


@functools.cache
def code_of(package: str) -> str:
    """Return the SHA-256 of a package's Python files and compiled modules, found once.

    It is not imported for this. Empty if it is not there.
    """
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        return ""
    roots = [Path(one) for one in spec.submodule_search_locations or [spec.origin or ""]]
    digest = hashlib.sha256()
    for root in roots:
        for path in sorted(root.rglob("*")) if root.is_dir() else [root]:
            if path.is_file() and path.name.endswith(_CODE):
                digest.update(f"{path.relative_to(root)}\0{sha256(path)}\n".encode())
    return digest.hexdigest()
