"""A plan as a Makefile: each record is a target, made by a process of its own."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence

from backbench.errors import UsageError
from backbench.model import Plan

#: A character in the name of a target that GNU make would take for syntax. It needs a backslash.
_SYNTAX = re.compile(r"([ #:])")

#: Characters that no backslash helps.
_UNFIT = re.compile(r"[\x00-\x1f\x7f\\*?\[\]%;]")


def makefile(plan: Plan, command: Sequence[str], store: str) -> str:
    """Return a Makefile whose targets are the records of a plan's stages.

    A record that is there is never made again, whatever the times of files: inputs are order-only
    prerequisites.

    Args:
        plan: The plan.
        command: The words of the command that runs the benchmark.
        store: Folder of the store, as the command names it.

    Raises:
        UsageError: If GNU make has no way to name files in that folder.
    """
    if _UNFIT.search(store):
        raise UsageError(
            f"{store!r}: GNU make cannot name files there, because of a tab, a line break or "
            r"one of \ * ? [ ] % ;: choose another folder with --store"
        )
    return "\n".join(_lines(plan, command, store)) + "\n"


def _lines(plan: Plan, command: Sequence[str], store: str) -> Iterator[str]:
    program, *words = command
    targets = {key: _target(f"{store}/records/{key}.json") for key in plan.stages}
    read = {key for stage in plan.stages.values() for key in stage.inputs.values()}
    last = [targets[key] for key in plan.stages if key not in read]
    title = " ".join(plan.benchmark.split())
    yield f"# Stages of {title}, each a process: make -j 4 -f FILE"
    yield f"# Another BACKBENCH runs them elsewhere: make -j 4 -f FILE BACKBENCH='srun {program}'"
    yield f"BACKBENCH ?= {program}"
    yield "EQUALS := ="
    yield ".PHONY: all"
    yield f"all: | {' '.join(last)}"
    yield f".PRECIOUS: {' '.join(targets.values())}"
    for key, stage in plan.stages.items():
        inputs = [targets[one] for one in dict.fromkeys(stage.inputs.values())]
        yield ""
        yield f"# stage {' '.join(stage.label.split())}:"  # no backslash ends the line
        yield f"{targets[key]}:{' | ' if inputs else ''}{' '.join(inputs)}"
        yield f"\t$(BACKBENCH) {_recipe([*words, '--stage', key])}"


def _target(path: str) -> str:
    """Return a path as make reads it in a rule."""
    return _SYNTAX.sub(r"\\\1", path).replace("$", "$$").replace("=", "$(EQUALS)")


def _recipe(words: Sequence[str]) -> str:
    """Return words as the shell reads them after make has."""
    return shlex.join(words).replace("$", "$$")
