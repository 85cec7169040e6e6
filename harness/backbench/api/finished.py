"""Results that are there already: of a finished store, of a bundle, of a site of bundles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from backbench.api.experiment import load
from backbench.api.opening import opening_of_bundle
from backbench.benchmark import DEFAULT_FILE
from backbench.errors import UsageError
from backbench.plugin.registry import load_registry
from backbench.report.board import bundle_board
from backbench.report.html import MOST_FIGURES
from backbench.report.results import Results
from backbench.report.sheet import Sheet
from backbench.report.sheets import sheet_of
from backbench.store.location import located
from backbench.store.store import Store
from backbench.system.files import PathLike
from backbench.verification.bundle import open_bundle

if TYPE_CHECKING:
    from backbench.report.html.writing import Refused, Submission


def open_results(
    path: PathLike, benchmark: PathLike = DEFAULT_FILE, profile: str | None = None
) -> Results:
    """Open the results of a finished store, or of a bundle.

    A bundle holds its plan. A store holds stages, perhaps of several benchmarks: the benchmark
    file names those cells.

    Args:
        path: The folder of the store, or a bundle's ZIP file.
        benchmark: Of a store, the benchmark file.
        profile: Of a store, a profile of that file.

    Raises:
        UsageError: If there is no such store or bundle.

    Example:
        >>> import backbench as bb
        >>> bb.open_results("bundle.zip").metric("asr", method="byol")  # doctest: +SKIP
    """
    where = located(path)
    if where.is_dir():
        if not Store(where).exists:
            raise UsageError(f"{path}: not a backbench store")
        return load(benchmark, profile).results(store=where)
    registry = load_registry()
    board = bundle_board(registry, where)
    return Results(board, opening=opening_of_bundle(registry, where))


def write_site(
    bundles: Sequence[PathLike], site: PathLike, *, most_figures: int = MOST_FIGURES
) -> tuple[list[Submission], list[Refused]]:
    """Write a static site of bundles: an index of all rows, a page a bundle, how to submit.

    Args:
        bundles: The ZIP files, perhaps of strangers; each is checked as ``verify`` does.
        site: A folder: new, empty, or an earlier site, which is replaced.
        most_figures: So many cells of each page get figures.

    Returns:
        The bundles that have a page, and those that cannot be read.

    Raises:
        UsageError: If the folder holds something else, or cannot be written.
    """
    from backbench.report.html.writing import write_site as write

    paths = [Path(one) for one in bundles]
    return write(load_registry(), paths, Path(site), most_figures=most_figures)


@dataclass(frozen=True, slots=True)
class Bundled:
    """A bundle, which shows its results as :class:`Planned` shows those of a store.

    Args:
        path: The bundle's ZIP file.
    """

    path: Path

    def results(self, **counting: object) -> Results:
        """Return the results.

        Raises:
            UsageError: If they are to be counted in another way than the benchmark counts.
        """
        if any(counting.values()):
            raise UsageError(f"{self.path}: a bundle is shown as it was counted: leave that out")
        return open_results(self.path)

    def watch(self) -> None:
        """Refuse to watch a run, which needs the store."""
        raise UsageError(f"{self.path}: --watch needs the store of the run")

    def trace(self, *filters: str) -> str:
        """Refuse to trace a row, which needs the store."""
        del filters
        raise UsageError(f"{self.path}: --trace needs the store that the bundle was made of")

    def sheet(self, view: str) -> Sheet:
        """Return a table besides the leaderboard; see :meth:`Planned.sheet`."""
        with open_bundle(self.path) as bundle:
            return sheet_of(view, bundle.plan, bundle.record)
