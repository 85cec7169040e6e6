"""Runs in a session: the executor, progress and observers that a benchmark and a caller choose."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from backbench.api.opening import opening_of_store
from backbench.benchmark.config import Benchmark
from backbench.benchmark.instances import Instance
from backbench.execution.scheduler import Result
from backbench.execution.session import How, Session, open_session
from backbench.model import Plan
from backbench.options.base import Options
from backbench.plugin.registry import Registered, Registry
from backbench.store.store import Store

if TYPE_CHECKING:
    from backbench.report.results import Run


def run_with_results(
    registry: Registry,
    run: Callable[[Session], tuple[Plan, Result]],
    how: How,
    benchmark: Benchmark | None = None,
) -> Run:
    """Run something in a session, and return the results; observers receive both."""
    from backbench.execution.observing import choose, observing
    from backbench.report.board import board_of
    from backbench.report.progress.displays import attach_progress, attach_status
    from backbench.report.results import Run, results_event

    observers = _chosen(benchmark.observers) if benchmark else {}
    chosen = choose(registry, observers, how.get("observe", ()))
    session = _session(registry, how, benchmark)
    with ExitStack() as stack:
        if how.get("progress"):
            stack.enter_context(attach_progress(registry))
        stack.enter_context(attach_status(registry, session.store))
        stack.enter_context(observing(registry, chosen))
        plan, outcome = run(session)
        board = board_of(registry, plan, session.store)
        claims = benchmark.claims if benchmark else ()
        opening = opening_of_store(registry, plan, session.store, claims)
        made = Run(board, plan, outcome, opening=opening)
        if registry.observed("results_ready"):
            from backbench.report.figures.opened import Opened
            from backbench.report.figures.stored import stored_files

            figures = stored_files(Opened.of_store(registry, plan, session.store), board)
            registry.emit("results_ready", results_event(made, figures))
    return made


def run_single(
    registry: Registry,
    make_plan: Callable[[Store], Plan],
    names: Sequence[str],
    how: How,
    benchmark: Benchmark,
) -> Result:
    """Run stages by name, as a scheduler's processes do; observers are not used."""
    from backbench.execution.single import run_stages
    from backbench.report.progress.displays import attach_lines

    how.setdefault("executor", "serial" if benchmark.stage_memory_gib is None else "local")
    how.setdefault("jobs", 1)
    session = _session(registry, how, benchmark)
    with ExitStack() as stack:
        if how.get("progress"):
            stack.enter_context(attach_lines(registry))
        _, result = run_stages(session, make_plan, names)
    return result


def _session(registry: Registry, how: How, benchmark: Benchmark | None) -> Session:
    """Return a session; what ``how`` leaves out is as a benchmark file has it."""
    if benchmark is None:
        return open_session(registry, how)
    how.setdefault("executor", benchmark.executor)
    how.setdefault("stage_timeout_s", benchmark.stage_timeout_s)
    how.setdefault("stage_memory_gib", benchmark.stage_memory_gib)
    return open_session(registry, how, _chosen(benchmark.executors))


def _chosen(tables: Mapping[str, Instance]) -> dict[str, tuple[Registered, Options]]:
    return {name: (one.registered, one.options) for name, one in tables.items()}
