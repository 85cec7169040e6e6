"""``backbench run``."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import click

from backbench.benchmark.config import Benchmark
from backbench.cli import common
from backbench.cli.show import board_of, show_board
from backbench.errors import ExitCode, UsageError
from backbench.execution.scheduler import Result, execute
from backbench.model import Plan
from backbench.plugin import ExecutorInfo
from backbench.plugin.executor import Executor, Setup
from backbench.plugin.registry import Registry
from backbench.report.progress import attach_progress
from backbench.results.outdated import Outdatedness
from backbench.stages.renewal import outdated
from backbench.store.store import Store


def _known_device(_context: click.Context, _option: click.Parameter, name: str) -> str:
    """Refuse a misspelt device before anything is written; whether it is there, torch knows."""
    if not re.fullmatch(r"auto|(cpu|cuda)(:\d+)?", name):
        raise UsageError(f"device {name!r}: say 'auto', 'cpu', 'cuda' or 'cuda:<number>'")
    return name


def run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say how stages are run."""
    for option in (
        click.option(
            "--device",
            default="auto",
            show_default=True,
            callback=_known_device,
            help="auto, cpu, cuda, cuda:0 …",
        ),
        click.option(
            "-j",
            "--jobs",
            type=click.IntRange(min=1),
            help="Stages at a time. Default: one a GPU, else one a core.",
        ),
        click.option(
            "--executor",
            "executor_name",
            default="local",
            show_default=True,
            help="Which executor.",
        ),
    ):
        command = option(command)
    return command


@click.command("run")
@common.benchmark_argument
@common.profile_option
@common.store_option
@run_options
@click.option(
    "--refresh",
    type=click.Choice(["outdated"]),
    help="outdated: repeat what an older revision of a plugin, metric or protocol made.",
)
def command(  # noqa: PLR0917 - click passes them by name
    file: Path,
    profile: str | None,
    store: Path,
    executor_name: str,
    jobs: int | None,
    device: str,
    refresh: str | None,
) -> None:
    """Run what is missing, then show the leaderboard.

    Each distinct stage runs once; what is in the store is not run again. A failed stage stops
    only the cells that need it. Ctrl-C leaves a store that the same command continues.
    """
    registry, benchmark = common.load(file, profile)
    common.warn_of_triggers(benchmark)
    run_plan(
        registry,
        lambda where: _plan(benchmark, where) if refresh is None else _outdated(benchmark, where),
        store,
        executor_name=executor_name,
        jobs=jobs,
        device=device,
    )


def _plan(benchmark: Benchmark, store: Store) -> Plan:
    return common.plan_of(benchmark, store, keep_hashes=True)


def _outdated(benchmark: Benchmark, store: Store) -> Plan:
    """Return the part of a benchmark's plan that is outdated, and forget what would hide it."""
    found = Outdatedness(_plan(benchmark, store), store)
    plan = found.outdated_part()
    if not plan.cells:
        click.echo("nothing is outdated", err=True)
    for key in found.outdated():
        store.forget(key)
    return plan


def run_benchmark(
    registry: Registry,
    benchmark: Benchmark,
    store: Path,
    *,
    executor_name: str,
    jobs: int | None,
    device: str,
    style: str = "table",
) -> None:
    """Run what is missing of a benchmark, then show the leaderboard.

    Args:
        registry: The installed plugins.
        benchmark: The validated benchmark.
        store: Folder of artifacts and records.
        executor_name: Which executor.
        jobs: Stages at a time; ``None`` leaves it to the executor.
        device: Name of the torch device, or ``auto``.
        style: Form of the leaderboard.

    Raises:
        click.exceptions.Exit: If a stage failed, or the run was stopped.
    """
    run_plan(
        registry,
        lambda where: _plan(benchmark, where),
        store,
        executor_name=executor_name,
        jobs=jobs,
        device=device,
        style=style,
    )


def run_plan(
    registry: Registry,
    make_plan: Callable[[Store], Plan],
    store: Path,
    *,
    executor_name: str,
    jobs: int | None,
    device: str,
    style: str = "table",
) -> None:
    """Run what is missing of a plan that is made when the store is held; see run_benchmark."""
    told = len(registry.failures)
    executor = registry.find(ExecutorInfo.kind, executor_name)
    where = Store(store)
    with where.running():
        plan = make_plan(where)
        for key in outdated(plan, where):
            where.forget(key)
        setup = Setup(store=store.absolute(), device=device, jobs=jobs)

        def make_executor() -> Executor:
            options = executor.info.options()
            made: Executor = executor.implementation()(options, setup)
            return made

        before = signal.signal(signal.SIGTERM, _interrupt)
        try:
            with attach_progress(registry):
                result = execute(plan, where, make_executor, registry.emit)
        finally:
            signal.signal(signal.SIGTERM, before)
    common.warn_of_failures(registry.failures[told:])
    _summarize(result)
    board = board_of(registry, plan, where)
    if any(row.seeds for row in board.rows):
        show_board(board, style)
    _end(result, store)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _summarize(result: Result) -> None:
    """Say on stderr what was done."""
    click.echo(
        f"{len(result.executed)} stages executed, {result.cached} were in the store"
        + (f", {len(result.failed)} failed" if result.failed else "")
        + (f", {len(result.skipped)} not tried" if result.skipped else "")
        + f" ({result.wall_s:.0f} s)",
        err=True,
    )


def _end(result: Result, store: Path) -> None:
    """Say how to go on where something is missing, and exit with the code that it deserves."""
    if result.interrupted:
        click.echo(f"stopped: the same command goes on from here (store: {store})", err=True)
        raise click.exceptions.Exit(ExitCode.INTERRUPTED)
    if result.failed:
        click.echo(f"tracebacks: {store}/failures, output of workers: {store}/logs", err=True)
        raise click.exceptions.Exit(ExitCode.USAGE if result.usage else ExitCode.FAILED)
