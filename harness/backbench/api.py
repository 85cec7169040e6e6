"""The library: load a benchmark, plan it, run it, read its results, evaluate an encoder.

The commands are a shell over this module. What a call needs is imported by the call, so that
``check`` and ``plan`` answer at once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from backbench.benchmark import DEFAULT_FILE
from backbench.benchmark.config import Benchmark, load_benchmark
from backbench.errors import UsageError, printable
from backbench.model import StageKind
from backbench.plugin.registry import Registered, Registry, load_registry
from backbench.store import DEFAULT_STORE
from backbench.store.integrity import damaged
from backbench.store.location import located, open_store
from backbench.store.store import Store

if TYPE_CHECKING:
    from torch.nn import Module

    from backbench.benchmark.file import Claim
    from backbench.benchmark.instances import Instance
    from backbench.estimate.cost import Costs
    from backbench.estimate.visibility import Estimate
    from backbench.evaluation.module import Named
    from backbench.execution.scheduler import Result
    from backbench.execution.session import How, Session
    from backbench.execution.simulation import Schedule
    from backbench.model import Cell, Denominator, Plan, Stage
    from backbench.options.base import Options
    from backbench.report.detectors import Sheet
    from backbench.report.html.source import Source
    from backbench.report.html.writing import Refused, Submission
    from backbench.report.results import Results, Run
    from backbench.results.claims import Judgement
    from backbench.results.leaderboard import Leaderboard
    from backbench.zoo.building import Built

__all__ = ["Experiment", "Planned", "evaluate", "load", "open_results", "write_site"]

PathLike = str | os.PathLike[str]


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
        from backbench.benchmark.planning import plan_of

        return self.run_plan(
            lambda store: plan_of(self.benchmark, store, keep_hashes=True),
            refresh=refresh,
            redo=redo,
            **how,
        )

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
        from backbench.execution.session import Session

        run = partial(Session.run, make_plan=make_plan, refresh=refresh, redo=redo)
        return _run(self.registry, run, how, self.benchmark)

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
        from backbench.benchmark.planning import plan_of
        from backbench.execution.single import run_stages
        from backbench.report.progress.displays import attach_lines

        how.setdefault("executor", "serial" if self.benchmark.stage_memory_gib is None else "local")
        how.setdefault("jobs", 1)
        session = _session(self.registry, how, self.benchmark)
        with ExitStack() as stack:
            if how.get("progress"):
                stack.enter_context(attach_lines(self.registry))
            _, result = run_stages(
                session, lambda store: plan_of(self.benchmark, store, keep_hashes=True), names
            )
        return result

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
        return Results(board, opening=_opening(experiment.registry, self.plan, self.store, claims))

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
        from backbench.results.leaderboard import only_row

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
        """
        from backbench.report.sheets import SHEETS

        return SHEETS[view](self.plan, self.store.readable)

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

    def detection(self) -> Sheet:
        """Return what the defenses found and dropped, and what they cost."""
        return self.sheet("detection")

    def verdicts(self) -> Sheet:
        """Return how right the verdicts on encoders are."""
        return self.sheet("verdicts")

    def each_verdict(self) -> Sheet:
        """Return the verdict on each encoder."""
        return self.sheet("each-verdict")


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
        from backbench.report.sheets import SHEETS
        from backbench.verification.bundle import open_bundle

        with open_bundle(self.path) as bundle:
            return SHEETS[view](bundle.plan, bundle.record)


def _opening(
    registry: Registry, plan: Plan, store: Store, claims: Sequence[Claim]
) -> Callable[[Leaderboard], AbstractContextManager[Source]]:
    """Return what opens the store that a leaderboard is of."""

    def opened(board: Leaderboard) -> AbstractContextManager[Source]:
        from backbench.report.html.source import store_source

        return store_source(registry, plan, store, claims, board)

    return opened


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
    from backbench.report.board import bundle_board
    from backbench.report.results import Results

    registry = load_registry()

    def opened(board: Leaderboard) -> AbstractContextManager[Source]:
        from backbench.report.html.source import bundle_source

        return bundle_source(registry, where, board)

    return Results(bundle_board(registry, where), opening=opened)


def write_site(
    bundles: Sequence[PathLike], site: PathLike, *, most_figures: int | None = None
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
    from backbench.report.results import MOST_FIGURES

    most = MOST_FIGURES if most_figures is None else most_figures
    return write(load_registry(), [Path(one) for one in bundles], Path(site), most_figures=most)


def evaluate(
    encoder: Module,
    *,
    dataset: PathLike | Mapping[str, Any],
    protocol: str | None = None,
    evaluators: Named = (),
    attacks: Named = (),
    control: Module | None = None,
    image_size: int | None = None,
    name: str | None = None,
    seed: int = 0,
    **how: Unpack[How],
) -> Run:
    """Evaluate an encoder that is in memory.

    Datasets, poisons and classifiers are stages of the store; this process computes the features.
    An encoder that was evaluated before is found by its weights and by what it computes.

    Args:
        encoder: A module that maps images (B, 3, H, W), float32 in [0, 1], to features (B, D); or
            an encoder of backbench. A module normalizes its images itself.
        dataset: Name of a dataset plugin, a folder with ``train`` and ``val``, or the table that
            a benchmark file would have: ``{"plugin": "embedded", "classes": 4}``.
        protocol: Id of the protocol card to follow. What a card fixes of a backbone cannot be
            checked of a module: the row is marked as external.
        evaluators: Names of evaluators that read features, or their tables by name. By default
            those of the protocol; without one, k-NN and linear evaluation.
        attacks: Names of attacks whose triggers are shown, or their tables by name; none by
            default.
        control: An encoder that was trained alike on clean data, of the same form.
        image_size: Side in pixels at which images are seen; by default the dataset's own, else 224.
        name: Name of the row; by default that of the module's class.
        seed: Seed of the triggers' positions and of the evaluators.
        **how: Where and how stages run; see :class:`How`.

    Raises:
        ConfigError: With every problem of the options.
        UsageError: If the module does not map images to features.

    Example:
        >>> import backbench as bb
        >>> run = bb.evaluate(resnet, dataset="cifar10")  # doctest: +SKIP
        >>> run.metric("accuracy/clean", evaluator="linear").mean  # doctest: +SKIP
    """
    from backbench.evaluation.module import module_benchmark, module_plan
    from backbench.execution.in_memory import run_with_encoders

    registry = load_registry()
    benchmark, choice = module_benchmark(
        registry,
        dataset=dataset,
        protocol=protocol,
        attacks=attacks,
        evaluators=evaluators,
        seed=seed,
    )
    store = open_store(how.get("store", DEFAULT_STORE))
    how["store"] = store.root
    plan, encoders = module_plan(
        benchmark, choice, store, encoder, control=control, image_size=image_size, name=name
    )
    return _run(registry, partial(run_with_encoders, plan=plan, encoders=encoders), how)


def _session(registry: Registry, how: How, benchmark: Benchmark | None) -> Session:
    """Return a session; what ``how`` leaves out is as a benchmark file has it."""
    from backbench.execution.session import open_session

    if benchmark is None:
        return open_session(registry, how)
    how.setdefault("executor", benchmark.executor)
    how.setdefault("stage_timeout_s", benchmark.stage_timeout_s)
    how.setdefault("stage_memory_gib", benchmark.stage_memory_gib)
    return open_session(registry, how, _chosen(benchmark.executors))


def _chosen(tables: Mapping[str, Instance]) -> dict[str, tuple[Registered, Options]]:
    return {name: (one.registered, one.options) for name, one in tables.items()}


def _run(
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
        opening = _opening(registry, plan, session.store, claims)
        made = Run(board, plan, outcome, opening=opening)
        if registry.observed("results_ready"):
            from backbench.report.figures.opened import Opened
            from backbench.report.figures.stored import stored_files

            figures = stored_files(Opened.of_store(registry, plan, session.store), board)
            registry.emit("results_ready", results_event(made, figures))
    return made
