"""Single stages of a plan, made by this process, for any scheduler that calls it for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace

from backbench.errors import NotReadyError, UsageError
from backbench.execution.scheduler import Result
from backbench.execution.session import Session
from backbench.model import Plan
from backbench.store.integrity import damaged
from backbench.store.store import Store


def run_stages(
    session: Session, make_plan: Callable[[Store], Plan], names: Sequence[str]
) -> tuple[Plan, Result]:
    """Run stages by name; what is in the store is not run again.

    Not the store is held, but each of the stages: other processes may make others meanwhile.

    Returns:
        The plan of these stages alone, and what was done.

    Raises:
        NotReadyError: If an input is missing, or another process makes one of the stages.
        UsageError: If a name is that of no stage, or of several.
    """
    make_executor, store = session.executor_maker(), session.store
    store.prepare()
    plan = make_plan(store)
    keys = named(plan, names)
    part = replace(plan, stages={key: plan.stages[key] for key in keys}, cells=())
    missing = [key for key in keys if key not in store.done()]
    with ExitStack() as stack:
        for key in missing:
            stack.enter_context(store.making(key))
        reasons = list(_missing_inputs(plan, part, store))
        if reasons:
            raise NotReadyError("\n".join(reasons))
        return part, session.finish(part, make_executor)


def named(plan: Plan, names: Sequence[str]) -> list[str]:
    """Return the keys of stages in the plan's order.

    Args:
        plan: The plan.
        names: Their keys, the beginnings of these, or their labels.

    Raises:
        UsageError: With every name that is that of no stage, or of several.
    """
    found: set[str] = set()
    problems = []
    for name in names:
        keys = [
            key
            for key, stage in plan.stages.items()
            if name == stage.label or (name and key.startswith(name.lower()))
        ]
        if not keys:
            problems.append(f"no stage of this benchmark has the key or the name {name!r}")
        elif len(keys) > 1:
            problems.append(f"{name!r} names {len(keys)} stages: write more of the key")
        found.update(keys)
    if problems:
        raise UsageError("--stage: " + "; ".join(problems))
    return [key for key in plan.stages if key in found]


def _missing_inputs(plan: Plan, part: Plan, store: Store) -> Iterator[str]:
    """Yield a sentence for each input of the stages to run that is not in the store."""
    done = store.done()
    for key, stage in part.stages.items():
        wanted = set(stage.inputs.values()) - part.stages.keys() if key not in done else set()
        lacking = {one for one in wanted if one not in done} | damaged(store, wanted).keys()
        for one in plan.stages:
            if one in lacking:
                yield (
                    f"{stage.label}: its input {one} ({plan.stages[one].label}) is not in the "
                    f"store {store.root}: run it first"
                )
