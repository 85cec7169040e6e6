"""From an imported encoder to a graph of stages. Pure.

The stages are a benchmark's own, but for the import of the file. A poison and a dataset that the
benchmark has run already are shared with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from backbench.benchmark.combinations import cut_off_problem
from backbench.benchmark.config import Benchmark
from backbench.benchmark.planning import Planner, is_control
from backbench.errors import UsageError
from backbench.external.encoder_options import ImportOptions
from backbench.external.imported import AnyImported, ExternalEncoder
from backbench.model import NONE, CellName, Plan, Stage, StageKind
from backbench.options.training import EvaluatorOptions
from backbench.plugin.suggestions import suggestion


@dataclass(frozen=True, slots=True)
class ImportedClassifier:
    """The file of a fitted classifier that is used instead of fitting another, and its hash."""

    path: Path
    sha256: str


@dataclass(frozen=True, slots=True)
class Choice:
    """The part of a benchmark on which an encoder is evaluated; attack ``none``: clean images."""

    dataset: str
    attacks: tuple[str, ...]
    evaluators: tuple[str, ...]
    seed: int


def choose(
    benchmark: Benchmark,
    *,
    dataset: str | None = None,
    attacks: Sequence[str] = (),
    evaluators: Sequence[str] = (),
    seed: int | None = None,
) -> Choice:
    """Complete what a user has chosen of a benchmark, and check it.

    Raises:
        UsageError: If something is not there, or does not fit the dataset.
    """
    datasets = list(benchmark.datasets)
    if dataset is None and len(datasets) > 1:
        raise UsageError(f"--dataset: say which one: {', '.join(datasets)}")
    chosen = dataset or datasets[0]
    used = tuple(dict.fromkeys(cell.evaluator for cell in benchmark.cells))
    choice = Choice(
        dataset=chosen,
        attacks=tuple(dict.fromkeys(attacks)) or (NONE,),
        evaluators=tuple(dict.fromkeys(evaluators)) or used,
        seed=benchmark.cells[0].seed if seed is None else seed,
    )
    known = {
        "--dataset": ((chosen,), datasets),
        "--attack": (choice.attacks, [*benchmark.instances["attacks"], NONE]),
        "--evaluator": (choice.evaluators, list(benchmark.instances["evaluators"])),
    }
    problems = [
        f"{option}: {benchmark.source} has none called {name!r}{suggestion(name, names)}"
        for option, (wanted, names) in known.items()
        for name in wanted
        if name not in names
    ]
    if not problems:
        instances = [benchmark.instances["attacks"].get(name) for name in choice.attacks]
        instances += [benchmark.instances["evaluators"][name] for name in choice.evaluators]
        problems = [
            f"{instance.path}: on dataset {chosen!r}: {sentence}"
            for instance in instances
            if instance is not None
            for sentence in instance.problems(instance.options.problems, benchmark.metadata[chosen])
        ]
        if set(choice.attacks) != {NONE}:
            sentence = cut_off_problem(benchmark.datasets[chosen], benchmark.metadata[chosen])
            problems += [f"datasets.{chosen}: {sentence}"] if sentence else []
    if problems:
        raise UsageError("; ".join(problems))
    return choice


def check_encoder(benchmark: Benchmark, choice: Choice, encoder: ImportOptions) -> None:
    """Check that the chosen evaluators can look through an encoder.

    Raises:
        UsageError: Naming the evaluators that cannot.
    """
    evaluators = [benchmark.instances["evaluators"][name] for name in choice.evaluators]
    problems = [
        f"{instance.path}: {sentence}"
        for instance in evaluators
        if isinstance(instance.options, EvaluatorOptions)
        for sentence in instance.problems(instance.options.encoder_problems, encoder.backbone)
    ]
    if problems:
        raise UsageError(
            f"{encoder.weights}: {'; '.join(problems)}; choose others with --evaluator"
        )


def plan_import(
    benchmark: Benchmark,
    fingerprints: Mapping[str, str],
    choice: Choice,
    name: str,
    encoder: AnyImported,
    *,
    control: AnyImported | None = None,
    classifier: ImportedClassifier | None = None,
) -> Plan:
    """Plan the evaluation of an encoder that was trained elsewhere."""
    encoders = {name: ExternalEncoder(encoder, control)}
    return _Planner(replace(benchmark, encoders=encoders), fingerprints, classifier).plan(
        CellName(choice.dataset, attack, name, NONE, evaluator, choice.seed)
        for attack in choice.attacks
        for evaluator in choice.evaluators
    )


class _Planner(Planner):
    """Plans cells whose classifier may be imported."""

    def __init__(
        self,
        benchmark: Benchmark,
        fingerprints: Mapping[str, str],
        classifier: ImportedClassifier | None,
    ) -> None:
        super().__init__(benchmark, fingerprints)
        self._classifier = classifier

    def _fit(self, name: CellName, trained_on: str, what: str, inputs: Mapping[str, str]) -> str:
        """Add the stage that fits a classifier or imports it; return its key."""
        classifier = self._classifier
        if classifier is None or is_control(name, trained_on):
            return super()._fit(name, trained_on, what, inputs)
        return self._add(
            Stage(
                kind=StageKind.FIT,
                plugin=self._use("evaluators", name.evaluator),
                seed=None,
                content=classifier.sha256,
                given={"classifier": {"path": str(classifier.path)}},
                label=f"classifier {classifier.path.name}",
            )
        )
