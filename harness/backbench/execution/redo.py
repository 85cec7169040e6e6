"""Stages that a user wants to be made again, and all that are made of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from backbench.errors import UsageError
from backbench.model import Plan, Stage
from backbench.plugin.suggestions import suggestion

#: Fewest characters of a key that name a stage.
_PREFIX = 4


def to_redo(plan: Plan, asked: Sequence[str]) -> list[str]:
    """Return the keys of the stages that are requested, and of those that depend on them.

    Args:
        plan: The plan.
        asked: Keys or their beginnings, labels, kinds of stages, names of plugins.

    Raises:
        UsageError: Naming each that is no such thing in this plan.
    """
    found = {word: set(_matching(plan, word)) for word in asked}
    problems = [_problem(plan, word) for word, keys in found.items() if not keys]
    if problems:
        raise UsageError("--redo: " + "; ".join(problems))
    chosen = set().union(*found.values())
    for key, stage in plan.stages.items():  # each after those that it reads
        if chosen.intersection(stage.inputs.values()):
            chosen.add(key)
    return [key for key in plan.stages if key in chosen]


def _matching(plan: Plan, word: str) -> Iterator[str]:
    for key, stage in plan.stages.items():
        if word in _names(stage) or (len(word) >= _PREFIX and key.startswith(word.lower())):
            yield key


def _names(stage: Stage) -> Iterator[str]:
    yield stage.kind.value
    yield stage.label
    yield from (use.name for use in stage.uses)


def _problem(plan: Plan, word: str) -> str:
    names = dict.fromkeys(name for stage in plan.stages.values() for name in _names(stage))
    short = [name for name in names if " " not in name]
    hint = suggestion(word, names if " " in word else short)
    return f"no stage of this benchmark is called {word!r}{hint}"
