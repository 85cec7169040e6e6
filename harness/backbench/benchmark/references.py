"""The names in a benchmark file: whether they can be names, and whether something has them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

from pydantic import BaseModel

from backbench.benchmark.file import HINTED, BenchmarkFile
from backbench.benchmark.instances import Context, Instance, Instances
from backbench.benchmark.matrix import Matrix, Profile
from backbench.benchmark.protocols.rules import no_such_evaluator
from backbench.errors import NOT_A_NAME, Problem, is_name
from backbench.model import NONE, Axis, CellName
from backbench.plugin import ExecutorInfo
from backbench.plugin.registry import Registry
from backbench.plugin.suggestions import nearest, suggestion


def name_problems(content: BenchmarkFile) -> Iterator[Problem]:
    """Yield the names that a terminal would obey, or that no file can bear."""
    names = [("benchmark.name", content.benchmark.name)]
    for axis in Axis.with_tables():
        names += [(axis.plural, name) for name in getattr(content, axis.plural)]
    names += [("profiles", name) for name in content.profiles]
    names += [("encoders", name) for name in content.encoders]
    names += [("observers", name) for name in content.observers]
    names += [("executors", name) for name in content.executors]
    for path, name in names:
        if not is_name(name):
            yield Problem(path, f"{name[:80]!a}: {NOT_A_NAME}")
    for name in sorted(content.encoders.keys() & content.methods.keys()):
        sentence = f"{name!r} is the name of a method, too: choose another name"
        yield Problem(f"encoders.{name}", sentence)


def executor_problems(content: BenchmarkFile, registry: Registry) -> Iterator[Problem]:
    """Yield a problem if no executor has the name of the file's."""
    name, known = content.benchmark.executor, registry.names(ExecutorInfo.kind)
    if name not in content.executors and name not in known:
        hint = suggestion(name, [*content.executors, *known])
        yield Problem("benchmark.executor", f"no executor is called {name!r}{hint}")


def reference_problems(
    content: BenchmarkFile, instances: Instances, broken: set[str], context: Context
) -> Iterator[Problem]:
    """Yield the names in matrices, profiles and claims that no instance has."""
    unknown = 0
    for (path, table), axis in itertools.product(_filters(content), Axis):
        if axis is Axis.EVALUATOR and context.lost:
            continue
        card = context.protocol if axis is Axis.EVALUATOR else None
        allowed = {*instances[axis.tables], *([NONE] if axis.optional else [])}
        allowed |= context.encoders if axis is Axis.METHOD else set()
        given = getattr(table, axis.plural) or ()
        for name in (part for one in given for part in _parts(axis, one)):
            if name in allowed or f"{axis.tables}.{name}" in broken:
                continue
            if card:
                sentence = no_such_evaluator(card, name)
                sentence = sentence or f"no [[matrix]] has the evaluator {name!r}"
            else:
                declared = {one.split(".", 1)[1] for one in broken if one.startswith(axis.tables)}
                installed = context.registry.names(axis.kind)
                if name in installed:
                    yield Problem(f"{path}.{axis.plural}", _unused(axis, name))
                    continue
                unknown += 1
                known = allowed | declared | set(installed)
                close = nearest(name, known) if unknown <= HINTED else None
                hint = f": did you mean {close!r}?" if close else f": add [{axis.tables}.{name}]"
                failures = "".join(f"; {failure}" for failure in context.registry.failures)
                sentence = f"no {axis.kind} is called {name!r}{hint}{failures}"
            yield Problem(f"{path}.{axis.plural}", sentence)


def _unused(axis: Axis, name: str) -> str:
    return f"no [[matrix]] has the {axis.kind} {name!r}: add it to one, or remove it here"


def _filters(content: BenchmarkFile) -> Iterator[tuple[str, BaseModel]]:
    """Yield all tables that name instances, each with its TOML path."""
    tables: list[tuple[str, Matrix | Profile]] = [
        *((f"matrix.{index}", matrix) for index, matrix in enumerate(content.matrix)),
        *((f"profiles.{name}", profile) for name, profile in content.profiles.items()),
    ]
    for path, table in tables:
        yield path, table
        yield from ((f"{path}.exclude.{i}", rule) for i, rule in enumerate(table.exclude))
    for index, claim in enumerate(content.claims):
        yield f"claims.{index}.subject", claim.subject


def _parts(axis: Axis, name: object) -> tuple[str, ...]:
    return axis.parts(name) if isinstance(name, str) else ()


def profile_problems(content: BenchmarkFile, profile: str | None) -> Iterator[Problem]:
    """Yield the profiles that a caller or a matrix names and that are not there."""
    if profile is not None and profile not in content.profiles:
        hint = suggestion(profile, content.profiles) or " (there are none)"
        yield Problem("profiles", f"no profile is called {profile!r}{hint}")
    for index, matrix in enumerate(content.matrix):
        for name in matrix.profiles or ():
            if name not in content.profiles:
                hint = suggestion(name, content.profiles) or f": add [profiles.{name}]"
                yield Problem(f"matrix.{index}.profiles", f"no profile is called {name!r}{hint}")


def set_problems(instances: Instances, cells: Iterable[CellName]) -> Iterator[Problem]:
    """Yield the datasets that attacks name and that are not there."""
    known = instances["datasets"]
    for attack, option, named in named_sets(instances, cells):
        if named not in known:
            hint = suggestion(named, known) or f": add [datasets.{named}]"
            sentence = f"no dataset is called {named!r}{hint}"
            yield Problem(f"{attack.path}.{option}", sentence)


def named_sets(
    instances: Instances, cells: Iterable[CellName]
) -> Iterator[tuple[Instance, str, str]]:
    """Yield the options of attacks that name datasets: the attack, the option, the dataset."""
    for name in dict.fromkeys(cell.attack for cell in cells):
        attack = instances["attacks"].get(name)
        if attack is not None:
            for option, named in attack.options.sets().items():
                if isinstance(named, str):
                    yield attack, option, named
