"""The way from a benchmark file to its results: load it, plan it, run what is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from backbench.api.opening import opening_of_store
from backbench.benchmark import DEFAULT_FILE
from backbench.benchmark.config import Benchmark, load_benchmark
from backbench.errors import printable
from backbench.model import StageKind
from backbench.plugin.registry import Registry, load_registry
from backbench.store import DEFAULT_STORE
from backbench.store.integrity import damaged
from backbench.store.location import located, open_store
from backbench.store.store import Store
from backbench.system.files import PathLike

if TYPE_CHECKING:
    from backbench.estimate.cost import Costs
    from backbench.estimate.visibility import Estimate
    from backbench.execution.scheduler import Result
    from backbench.execution.session import How
    from backbench.execution.simulation import Schedule
    from backbench.model import Cell, Denominator, Plan, Stage
    from backbench.report.results import Results, Run
    from backbench.report.sheet import Sheet
    from backbench.results.claims import Judgement
    from backbench.zoo.building import Built


@dataclass(frozen=True, slots=True)
class Experiment:
    """A validated benchmark and the installed plugins.

    Args:
        benchmark: The benchmark.
        registry: The installed plugins; ``registry.failures`` names those that cannot be used.
        profile: The profile that was chosen, if any.

    Example:
        >>> import backbench as bb
        >>> experiment = bb.load("benchmarks.toml")  # doctest: +SKIP
        >>> len(experiment.plan().cells)  # doctest: +SKIP
        16
    """

    benchmark: Benchmark
    registry: Registry
    profile: str | None = None

    def plan(self, *, store: PathLike = DEFAULT_STORE, keep_hashes: bool = False) -> Planned:
        """Plan the benchmark; run nothing.

        Args:
            store: Folder of artifacts and records; it need not exist.
            keep_hashes: Remember hashes of image files in the store, if it is there.

        Raises:
            UsageError: If the folder is something else.
        """
        from backbench.benchmark.planning import plan_of

        where = open_store(store)
        plan = plan_of(self.benchmark, where, keep_hashes=keep_hashes and where.exists)
        return Planned(self, plan, where)

    def run(self, *, refresh: bool = False, redo: Sequence[str] = (), **how: Unpack[How]) -> Run:
        """Run what is missing in a store, and return the results.

        Each distinct stage runs once. A failed stage stops only the cells that need it, and
        ``outcome.failed`` names the reasons. Ctrl-C leaves a store that the same call continues.

        Args:
            refresh: Repeat only what an older revision of a plugin made.
            redo: Stages to make again with all that depend on them: keys or their beginnings,
                labels, kinds such as ``pretrain``, names of plugins.
            **how: Where and how stages run; see :class:`How`.

        Raises:
            UsageError: If the input is wrong, or another run holds the store.

        Example:
            >>> import backbench as bb
            >>> bb.load("benchmarks.toml").run(store="store", jobs=2)  # doctest: +SKIP
        """
        return self.run_plan(self._plan_to_run, refresh=refresh, redo=redo, **how)

    def run_plan(
        self,
        make_plan: Callable[[Store], Plan],
        *,
        refresh: bool = False,
        redo: Sequence[str] = (),
        **how: Unpack[How],
    ) -> Run:
        """Run what is missing of another plan than the benchmark's own; see :meth:`run`.

        ``make_plan`` is called when the store is held.
        """
        from backbench.api.running import run_with_results
        from backbench.execution.session import Session

        run = partial(Session.run, make_plan=make_plan, refresh=refresh, redo=redo)
        return run_with_results(self.registry, run, how, self.benchmark)

    def run_stages(self, *names: str, **how: Unpack[How]) -> Result:
        """Run single stages, as the processes of a scheduler do that runs the plan's graph.

        Processes on one store may run different stages at the same time. Observers are not used.

        Args:
            names: Keys of stages, the beginnings of these, or their labels.
            **how: Where and how stages run; see :class:`How`. Default of ``executor``: ``serial``,
                or ``local`` with one worker where there is a limit of memory.

        Returns:
            What was done.

        Raises:
            NotReadyError: If an input is missing, or another process makes one of the stages.
            UsageError: If a name is that of no stage, or of several.

        Example:
            >>> experiment = bb.load("benchmarks.toml")  # doctest: +SKIP
            >>> experiment.run_stages("9c3bc342").executed  # doctest: +SKIP
        """
        from backbench.api.running import run_single

        return run_single(self.registry, self._plan_to_run, names, how, self.benchmark)

    def _plan_to_run(self, store: Store) -> Plan:
        from backbench.benchmark.planning import plan_of

        return plan_of(self.benchmark, store, keep_hashes=True)

    def results(self, *, store: PathLike = DEFAULT_STORE) -> Results:
        """Return the results that are in a store."""
        return self.plan(store=store).results()


@dataclass(frozen=True, slots=True)
class Planned:
    """The plan of an experiment in one store.

    Args:
        experiment: The experiment.
        plan: Cells and stages.
        store: Where stages are looked for.

    Example:
        >>> planned = bb.load("benchmarks.toml").plan()  # doctest: +SKIP
        >>> planned.run(jobs=2).metric("asr", method="byol")  # doctest: +SKIP
    """

    experiment: Experiment
    plan: Plan
    store: Store

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Return the cells of the matrix."""
        return self.plan.cells

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Return the distinct stages, each after those that it reads."""
        return tuple(self.plan.stages.values())

    @property
    def missing(self) -> tuple[Stage, ...]:
        """Return the stages that are not in the store, or cannot be used there."""
        done = self.store.done() - damaged(self.store, self.plan.stages).keys()
        return tuple(stage for key, stage in self.plan.stages.items() if key not in done)

    @property
    def trains_on_poison(self) -> bool:
        """Return whether a training on a poison is not in the store; damage is not looked for."""
        done = self.store.done()
        return any(
            stage.kind is StageKind.PRETRAIN and "poison" in stage.inputs and key not in done
            for key, stage in self.plan.stages.items()
        )

    def costs(self) -> Costs:
        """Return what the stages cost that are not in the store: image-steps, bytes on disk."""
        from backbench.estimate.cost import costs_of

        experiment = self.experiment
        return costs_of(self.plan, experiment.benchmark, experiment.registry, self.store)

    def schedule(self, cluster: str) -> Schedule:
        """Simulate what is missing on a cluster, by the times in the store's records.

        Args:
            cluster: Machines x stages at a time on each, and a part of the name of the device whose
                records count: ``4x8``, ``4x8xA100``.

        Raises:
            UsageError: If it is something else.
        """
        return self._schedule(cluster, self.costs())

    def _schedule(self, cluster: str, costs: Costs) -> Schedule:
        from backbench.execution.simulation import Cluster, simulate, timed_by

        where = Cluster.parse(cluster)
        return simulate(timed_by(costs, self.store, where.device), where)

    def run(self, **how: Unpack[How]) -> Run:
        """Run what is missing of this plan, and return the results.

        Args:
            **how: Where and how stages run; see :class:`How`. Default of ``store``: the one that
                was planned with.
        """
        how.setdefault("store", self.store.root)
        return self.experiment.run_plan(lambda _: self.plan, **how)

    def results(
        self,
        *,
        asr: Denominator | None = None,
        target: str | None = None,
        metrics: Iterable[str] = (),
    ) -> Results:
        """Return the results that are in the store; what is missing is missing in them too.

        Args:
            asr: Images that ``asr`` is a share of: ``all-images`` or ``other-classes``; by default
                as the benchmark counts.
            target: Class that is taken for the target; by default each attack's own.
            metrics: Metrics that have a column; by default all that usually have.

        Raises:
            UsageError: If there is no such class, or no such metric.
        """
        from backbench.report.board import Request, board_of
        from backbench.report.results import Results

        experiment = self.experiment
        request = Request(asr, target, tuple(metrics), experiment.benchmark.metadata)
        board = board_of(experiment.registry, self.plan, self.store, request)
        claims = experiment.benchmark.claims
        opening = opening_of_store(experiment.registry, self.plan, self.store, claims)
        return Results(board, opening=opening)

    def table(
        self,
        format: str = "table",  # noqa: A002
        *,
        stages: bool = False,
        visibility: bool = False,
        hours_on: str | None = None,
        jobs: int | None = None,
        cluster: str | None = None,
        command: Sequence[str] = (),
    ) -> str:
        """Return the plan as text, as ``backbench plan`` prints it.

        Args:
            format: ``table`` or ``json``.
            stages: List every stage.
            visibility: Estimate how often each trigger survives the crops of each method's views.
            hours_on: A device, or ``auto``: report how long all takes there, by the store's records
                or by some seconds of each training.
            jobs: Stages at a time, of the hours; by default as many as :meth:`run` takes.
            cluster: Machines to simulate the schedule on: ``4x8``, ``4x8xA100``.
            command: Words of the command that runs the benchmark, for JSON.
        """
        from backbench.report.plan import measured_hours, plan_text

        costs = self.costs()
        done = self.plan.stages.keys() - costs.stages.keys()
        seen = self._visibility() if visibility else None
        hours = None if hours_on is None else measured_hours(costs, self.store, hours_on, jobs)
        return plan_text(
            self.plan,
            costs,
            done,
            format,
            visibility=seen,
            hours=hours,
            schedule=None if cluster is None else self._schedule(cluster, costs),
            list_stages=stages,
            command=command,
        )

    def _visibility(self) -> list[Estimate]:
        from backbench.estimate.visibility import estimates  # late: it needs NumPy and the attacks

        return list(estimates(self.experiment.benchmark))

    def makefile(self, command: Sequence[str]) -> str:
        """Return a Makefile that runs each stage as a process; its targets are their records.

        Args:
            command: Words of the command that runs the benchmark: ``["backbench", "run", …]``.

        Raises:
            UsageError: If GNU make has no way to name files in the store.
        """
        from backbench.report.makefile import makefile

        return makefile(self.plan, command, str(self.store.root))

    def trace(self, *expressions: str) -> str:
        """Return the origin of a row, from the benchmark file to the predictions.

        The expressions, ``"method=byol"`` and the like, choose it; one row must be left.
        """
        from backbench.report.board import measured_in
        from backbench.report.trace import explain
        from backbench.results.filtering import only_row

        experiment = self.experiment
        board = self.results().own().filter(*expressions).board
        row = only_row(board, f"trace {','.join(expressions)!r}")
        lines = explain(
            row,
            self.plan,
            self.store,
            experiment.registry,
            Path(experiment.benchmark.source),
            measured_of=measured_in(experiment.registry, self.plan, self.store),
            profile=experiment.profile,
            changes=experiment.benchmark.changes,
        )
        return printable("\n".join(lines))  # records may come from outside

    def claims(self) -> list[Judgement]:
        """Judge the claims of the benchmark by the predictions in the store."""
        from backbench.report.board import judged

        experiment = self.experiment
        return judged(experiment.registry, self.plan, self.store, experiment.benchmark.claims)

    def sheet(self, view: str) -> Sheet:
        """Return a table besides the leaderboard.

        Args:
            view: ``detection``, what the defenses found and dropped, and what they cost;
                ``verdicts``, how right the verdicts on encoders are; ``each-verdict``, the verdict
                on each; ``threats``, the threat model of each attack.

        Raises:
            UsageError: If there is no such table.
        """
        from backbench.report.sheets import sheet_of

        return sheet_of(view, self.plan, self.store.readable)

    def write_zoo(self, out: PathLike, *, run: str = "backbench run") -> Built:
        """Write the encoders that no defense has touched as a zoo; see :func:`.build_zoo`.

        Args:
            out: A folder that is not there yet.
            run: The command that runs the benchmark, for errors.
        """
        from backbench.report.board import measured_in
        from backbench.zoo.building import build_zoo

        experiment = self.experiment
        return build_zoo(
            self.plan,
            self.store,
            Path(experiment.benchmark.source),
            Path(out),
            measured_of=measured_in(experiment.registry, self.plan, self.store),
            changes=experiment.benchmark.changes,
            run=run,
        )

    def watch(self) -> None:
        """Show the run that is going on in the store, in this or another process, until it ends.

        Without a terminal its state is printed once.

        Raises:
            UsageError: If no run has ever kept its state in this store.
        """
        from backbench.report.progress.watching import watch

        watch(self.plan, self.store)


def load(
    path: PathLike = DEFAULT_FILE,
    profile: str | None = None,
    *,
    changes: Iterable[str] = (),
    every: bool = False,
    trains: bool = True,
    store: PathLike | None = None,
) -> Experiment:
    """Read and validate a benchmark file.

    Args:
        path: The TOML file.
        profile: Name of a profile of the file; the whole matrix if ``None``.
        changes: Values that replace some of the file: ``["methods.byol.epochs=20"]``.
        every: Count the matrices that belong to profiles as well.
        trains: Whether to check its methods and defenses against its datasets; no if only an
            external encoder is evaluated.
        store: Folder of a store that remembers what the files of ``[encoders]`` are, so that they
            are read once.

    Raises:
        ConfigError: With every problem of the file.
        UsageError: If the file cannot be read.

    Example:
        >>> import backbench as bb
        >>> bb.load("benchmarks.toml", profile="quick").run()  # doctest: +SKIP
    """
    registry = load_registry()
    benchmark = load_benchmark(
        Path(path),
        registry,
        profile,
        changes=changes,
        every=every,
        trains=trains,
        store=None if store is None else located(store),
    )
    return Experiment(benchmark, registry, profile)
