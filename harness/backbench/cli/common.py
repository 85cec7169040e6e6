"""What several commands share: options, and the way from a file to a plan."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from backbench.benchmark.config import DEFAULT_FILE, Benchmark, load_benchmark
from backbench.benchmark.planning import make_plan
from backbench.data.fingerprint import FileHashes
from backbench.model import Plan
from backbench.plugin.registry import Failure, Registry, load_registry
from backbench.store.store import DEFAULT_STORE, Store

benchmark_argument = click.argument(
    "file",
    metavar="[BENCHMARK]",
    type=click.Path(path_type=Path),
    default=DEFAULT_FILE,
)

profile_option = click.option(
    "--profile", metavar="NAME", help="Only the part of the matrix that this profile keeps."
)

store_option = click.option(
    "--store",
    type=click.Path(path_type=Path, file_okay=False),
    default=DEFAULT_STORE,
    envvar="BACKBENCH_STORE",
    show_default=True,
    show_envvar=True,
    help="Folder of artifacts and records.",
)


def warn_of_failures(failures: Iterable[Failure]) -> None:
    """Say on stderr which plugins could not be used, or have raised."""
    for failure in failures:
        click.echo(f"warning: {failure}", err=True)


def warn_of_triggers(benchmark: Benchmark) -> None:
    """Say on stderr which attacks cannot work, since a method's crops lose their trigger."""
    from backbench.estimate.visibility import warnings

    for sentence in warnings(benchmark):
        click.echo(f"warning: {sentence}", err=True)


def load(file: Path, profile: str | None, *, trains: bool = True) -> tuple[Registry, Benchmark]:
    """Return the plugins and the validated benchmark; see :func:`load_benchmark`."""
    registry = load_registry()
    benchmark = load_benchmark(file, registry, profile, trains=trains)
    warn_of_failures(registry.failures)
    return registry, benchmark


def plan_of(benchmark: Benchmark, store: Store, *, keep_hashes: bool) -> Plan:
    """Fingerprint the datasets and plan.

    Args:
        benchmark: The benchmark.
        store: Where hashes of files are remembered.
        keep_hashes: Write newly made hashes to the store.
    """
    hashes = FileHashes(store.files_cache)
    fingerprints = {
        name: dataset.fingerprint(hashes) for name, dataset in benchmark.datasets.items()
    }
    if keep_hashes:
        hashes.save()
    return make_plan(benchmark, fingerprints)


def formats(*names: str) -> Callable[[Any], Any]:
    """Return the ``--format`` option."""
    return click.option(
        "--format",
        "style",
        type=click.Choice(names),
        default=names[0],
        show_default=True,
        help="Form of the output.",
    )
