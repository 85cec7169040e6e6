"""Results of a benchmark: rows with n, interval and control; as tables, records and frames."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backbench.errors import ExitCode, UsageError
from backbench.execution.scheduler import Result
from backbench.model import Axis, Plan
from backbench.plugin import ResultsReady
from backbench.plugin.suggestions import suggestion
from backbench.report.html import MOST_FIGURES
from backbench.report.numbers import EXACT, exact
from backbench.results.filtering import only_row, select
from backbench.results.leaderboard import Leaderboard, Row
from backbench.results.statistics import Summary
from backbench.system.files import PathLike

if TYPE_CHECKING:
    from pandas import DataFrame

    from backbench.report.html.source import Source

#: Opens the store or the bundle that rows are of.
Opening = Callable[[Leaderboard], "AbstractContextManager[Source]"]


@dataclass(frozen=True, slots=True)
class Metric:
    """A number of one row: its mean over seeds, with its control.

    Args:
        name: ``asr``, ``accuracy/clean``, …
        summary: n, mean, standard deviation, 95 % interval and the value of each seed.
        control: The same of the clean encoder under the same trigger; ``None`` without an attack.
        lift: Value less control, paired by seed; ``None`` without a control.

    Example:
        >>> metric = Metric("asr", Summary(2, 0.4, 0.1, (0.2, 0.6), (0.3, 0.5)))
        >>> metric.mean, metric.n, metric.interval
        (0.4, 2, (0.2, 0.6))
    """

    name: str
    summary: Summary
    control: Summary | None = None
    lift: Summary | None = None

    @property
    def mean(self) -> float:
        """Return the mean over seeds."""
        return self.summary.mean

    @property
    def n(self) -> int:
        """Return the number of seeds."""
        return self.summary.n

    @property
    def interval(self) -> tuple[float, float] | None:
        """Return the ends of the 95 % interval of the mean; ``None`` where there is none."""
        return self.summary.ci95

    def __float__(self) -> float:
        return self.summary.mean


@dataclass(frozen=True, slots=True)
class Results:
    """The rows of a leaderboard, to be read, filtered, printed and turned into a frame.

    Args:
        board: The leaderboard.
        opening: Opens the store or the bundle that its rows are of; ``None`` if that is not known.

    Example:
        >>> from backbench.model import Axis
        >>> from backbench.results.leaderboard import COLUMNS
        >>> asr = Summary(1, 0.5, None, None, (0.5,))
        >>> row = Row(dict.fromkeys(Axis, "x"), (0,), 1, {"asr": asr}, {}, {})
        >>> results = Results(Leaderboard("tiny", COLUMNS, (row,)))
        >>> results.metric("asr", method="x").mean
        0.5
    """

    board: Leaderboard
    opening: Opening | None = field(default=None, kw_only=True, repr=False, compare=False)

    @property
    def rows(self) -> tuple[Row, ...]:
        """Return the rows."""
        return self.board.rows

    def __len__(self) -> int:
        return len(self.board.rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.board.rows)

    def __str__(self) -> str:
        return self.table()

    def filter(self, *expressions: str, sort: str | None = None) -> Results:
        """Choose and order rows.

        Args:
            *expressions: ``"method=byol"``, ``"attack!=none"``, ``"asr>0.1"``; all must hold.
            sort: A field or a metric; with a leading ``-``, descending.

        Raises:
            UsageError: If an expression cannot be read, or names nothing.
        """
        return self._of(select(self.board, expressions, sort))

    def _of(self, board: Leaderboard) -> Results:
        """Return other rows of the same origin."""
        return Results(board, opening=self.opening)

    def own(self, *, outdated: bool = True) -> Results:
        """Leave out the rows of imported bundles, and, if asked, those that are outdated."""
        rows = (row for row in self.rows if not row.origin and (outdated or not row.outdated))
        return self._of(replace(self.board, rows=tuple(rows)))

    def require(self, where: object, command: str, *, filtered: bool = False) -> None:
        """Refuse to continue without a row that has a number, or the reason why it has none."""
        if any(row.seeds or row.problem for row in self.rows):
            return
        if filtered:
            raise UsageError("--filter: no finished row is left")
        name = repr(self.board.benchmark)
        raise UsageError(f"{where}: no finished cell of {name} yet: run `{command}` first")

    def over_attacks(self) -> Results:
        """Put all attacks of a method in one row: their worst case, and their mean."""
        from backbench.results.over_attacks import over_attacks

        return self._of(over_attacks(self.board))

    def detectors(self) -> Results:
        """Return the rows of detectors of triggered images, with the columns of their metrics.

        Numbers that the detectors reported themselves come last.

        Raises:
            UsageError: If no detector has run yet.
        """
        from backbench.results.detectors import only_detectors

        return Results(only_detectors(self.board))

    def metric(self, name: str, **names: str) -> Metric:
        """Return one number, with n, interval and control.

        Args:
            name: The metric: ``"asr"``, ``"accuracy/clean"``, …
            **names: What names the row: ``method="byol"``, ``attack="targeted"``; only as many as
                separate it from the others.

        Raises:
            UsageError: If no row is left, or several are; the error names the fields that differ.
        """
        asked = ", ".join(f"{field}={value}" for field, value in names.items())
        unknown = [field for field in names if field not in list(Axis)]
        if unknown:
            raise UsageError(f"no field is called {unknown[0]!r} (there are: {', '.join(Axis)})")
        found = self.filter(*(f"{field}={value}" for field, value in names.items()))
        row = only_row(found.board, f"metric({', '.join(filter(None, (repr(name), asked)))})")
        if name not in row.values:
            raise UsageError(f"the row has no metric {name!r}{suggestion(name, row.values)}")
        return Metric(name, row.values[name], row.controls.get(name), row.lifts.get(name))

    def table(self, format: str = "table", *, group: str | None = "evaluator") -> str:  # noqa: A002
        """Return the leaderboard as text, as ``backbench show`` prints it.

        Args:
            format: ``table``, ``json``, ``csv``, ``markdown``, ``latex`` or ``html``.
            group: Field that splits a ``table`` into several; ``None`` splits it by protocol only.

        Raises:
            UsageError: If there is no such format.
        """
        from backbench.report.console import make_console
        from backbench.report.tables import FORMATS, print_board

        if format not in FORMATS:
            raise UsageError(f"there is no format {format!r}{suggestion(format, FORMATS)}")
        out = io.StringIO()
        print_board(self.board, format, group, make_console(file=out))
        return out.getvalue().rstrip("\n")

    def report(self, path: PathLike, *, most_figures: int = MOST_FIGURES) -> int:
        """Write one self-contained HTML page: the rows, claims, costs, and a section a cell.

        Args:
            path: The file; one that is there is replaced.
            most_figures: So many cells get figures, the first.

        Returns:
            The size of the file in bytes.

        Raises:
            UsageError: If the file cannot be written, or it is not known what the rows are of.
        """
        from backbench.report.html.writing import write_page

        if self.opening is None:
            raise UsageError("report() needs results of a store or of a bundle: open_results(path)")
        with self.opening(self.board) as source:
            return write_page(source, Path(path), most_figures=most_figures)

    def to_records(self) -> list[dict[str, Any]]:
        """Return a flat record of each metric of each row.

        Returns:
            Fields of the row; ``metric``, ``n``, ``mean``, ``std``, ``ci95_low``, ``ci95_high``,
            ``control``, ``lift``; ``complete``, ``external``, ``origin``, ``outdated``.
        """
        return [_record(row, metric) for row in self.board.rows for metric in row.values]

    def to_parquet(self) -> bytes:
        """Return the same as a Parquet file, a line for each metric of each row."""
        try:
            import pyarrow as pa
            from pyarrow import parquet
        except ImportError as error:
            raise UsageError('Parquet needs pyarrow: pip install "backbench[parquet]"') from error
        out = io.BytesIO()
        parquet.write_table(pa.Table.from_pylist(self.to_records()), out)
        return out.getvalue()

    def to_frame(self) -> DataFrame:
        """Return the same as a pandas frame, a line for each metric of each row."""
        try:
            import pandas as pd
        except ImportError as error:
            raise UsageError(
                'to_frame() needs pandas: pip install "backbench[pandas]"; to_records() returns '
                "the same as a list of dicts"
            ) from error
        return pd.DataFrame(self.to_records())


@dataclass(frozen=True, slots=True)
class Run(Results):
    """Results, and what was done for them.

    Args:
        board: The leaderboard.
        plan: What was run.
        outcome: Which stages were executed, were in the store, or failed and why.

    Example:
        >>> import backbench as bb
        >>> run = bb.load("benchmarks.toml").run(jobs=2)  # doctest: +SKIP
        >>> run.outcome.failed  # doctest: +SKIP
        {}
    """

    plan: Plan
    outcome: Result

    @property
    def summary(self) -> str:
        """Return one line on what was done."""
        return self.outcome.summary

    @property
    def exit_code(self) -> ExitCode:
        """Return the exit code of a command that has done this."""
        return self.outcome.exit_code


def results_event(results: Results, figures: Mapping[str, bytes]) -> ResultsReady:
    """Return the event that hands results and figures, files by name, to observers."""
    return ResultsReady(
        results.board.benchmark,
        tuple(results.to_records()),
        {f"leaderboard.{end}": results.table(form) for end, form in _FILES.items()},
        figures,
    )


#: Forms of the leaderboard that observers are given, by the ending of the file's name.
_FILES = {"md": "markdown", "csv": "csv"}


def _record(row: Row, metric: str) -> dict[str, Any]:
    return {
        **row.names,
        "protocol": row.protocol,
        "metric": metric,
        **dict(zip(EXACT[:5], exact(row.values[metric])[:5], strict=True)),
        "control": _mean(row.controls, metric),
        "lift": _mean(row.lifts, metric),
        "complete": row.complete,
        "external": row.external,
        "origin": row.origin,
        "outdated": row.outdated,
    }


def _mean(summaries: Mapping[str, Summary], metric: str) -> float | None:
    return summaries[metric].mean if metric in summaries else None
