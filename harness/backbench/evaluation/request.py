"""The request to evaluate an encoder that was trained elsewhere, and its plan."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from backbench.benchmark.config import Benchmark
from backbench.benchmark.planning import fingerprints_of
from backbench.benchmark.protocols.imports import import_problems, is_for_layout
from backbench.errors import NOT_A_NAME, UsageError, is_name
from backbench.evaluation.classifier import check_classifier
from backbench.evaluation.import_plan import (
    Choice,
    ImportedClassifier,
    check_encoder,
    choose,
    plan_import,
)
from backbench.external.encoder_options import ImportOptions
from backbench.external.imported import Imported, open_encoder
from backbench.external.layouts import AUTO
from backbench.external.reader import content_of
from backbench.model import NONE, Plan
from backbench.options.views import image_side
from backbench.store.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderRequest:
    """An encoder in a file, and what it is evaluated on: the options of ``backbench evaluate``."""

    weights: Path
    layout: str = AUTO
    prefix: str | None = None
    arch: str | None = None
    stem: str = AUTO
    image_size: int | None = None
    normalize: str | None = None
    name: str | None = None
    attacks: tuple[str, ...] = ()
    dataset: str | None = None
    evaluators: tuple[str, ...] = ()
    seed: int | None = None
    control: Path | None = None
    classifier: Path | None = None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A checked request."""

    benchmark: Benchmark
    choice: Choice
    name: str
    encoder: Imported[ImportOptions]
    control: Imported[ImportOptions] | None = None
    classifier: ImportedClassifier | None = None
    notes: tuple[str, ...] = field(default=(), compare=False)

    def plan(self, store: Store) -> Plan:
        """Return the plan; hashes of files are remembered in the store."""
        name = self.choice.dataset
        found = fingerprints_of(self.benchmark, store, keep_hashes=True, only=name)
        return plan_import(
            self.benchmark,
            found,
            self.choice,
            self.name,
            self.encoder,
            control=self.control,
            classifier=self.classifier,
        )


def prepare(benchmark: Benchmark, asked: EncoderRequest) -> Evaluation:
    """Read the weights and check that the benchmark's evaluators can use them.

    Raises:
        UsageError: If something is missing, unreadable, or does not fit.
    """
    choice = choose(
        benchmark,
        dataset=asked.dataset,
        attacks=asked.attacks,
        evaluators=asked.evaluators,
        seed=asked.seed,
    )
    shown = benchmark.metadata[choice.dataset].size
    notes: list[str] = []

    def imported(path: Path) -> Imported[ImportOptions]:
        found, said = open_encoder(
            path,
            usual_size=image_side(shown, None),
            normalize=asked.normalize,
            layout=asked.layout,
            prefix=asked.prefix,
            arch=asked.arch,
            stem=asked.stem,
            image_size=asked.image_size,
        )
        notes.extend(said)
        return found

    encoder = imported(asked.weights)
    choice = under_protocol(benchmark, choice, encoder.options, asked.evaluators)
    classifier = _classifier(asked.classifier, benchmark, choice, encoder.options)
    triggers = [name for name in choice.attacks if name != NONE]
    control = None
    if asked.control is not None:
        if not triggers:
            raise UsageError(
                "--control: there is no trigger to control for: say which with --attack"
            )
        control = imported(asked.control)
    elif triggers:
        notes.append(
            "no --control: the effect of the trigger on an encoder without a backdoor is unknown"
        )
    for one in (encoder, control):
        if one is not None:
            check_encoder(benchmark, choice, one.options)
    name = asked.name or _row_name(encoder.options.weights)
    if not is_name(name):
        raise UsageError(f"{name!a}: {NOT_A_NAME}; say what the row is called with --name")
    return Evaluation(benchmark, choice, name, encoder, control, classifier, tuple(notes))


def _classifier(
    path: Path | None, benchmark: Benchmark, choice: Choice, encoder: ImportOptions
) -> ImportedClassifier | None:
    if path is None:
        return None
    if len(choice.evaluators) != 1:
        raise UsageError(
            f"--classifier: a classifier belongs to one evaluator: name it with --evaluator "
            f"({', '.join(choice.evaluators)})"
        )
    evaluator = benchmark.instances["evaluators"][choice.evaluators[0]]
    check_classifier(path, evaluator, encoder, len(benchmark.metadata[choice.dataset].classes))
    return ImportedClassifier(path.absolute(), content_of(path))


def _row_name(path: Path) -> str:
    """Return the name of a file without its endings; of our own encoders, the folder's."""
    if path.name in {"encoder.safetensors", "encoder-backdoored.safetensors"}:
        return path.absolute().parent.name
    return re.sub(r"(\.(pth|pt|tar|ckpt|safetensors|bin))+$", "", path.name) or path.name


def under_protocol(
    benchmark: Benchmark, choice: Choice, options: ImportOptions, asked: Sequence[str]
) -> Choice:
    """Check an import against the benchmark's card; keep the evaluators that fit the encoder.

    Raises:
        UsageError: With everything in which the import contradicts the card.
    """
    protocol = benchmark.protocol
    if protocol is None:
        return choice
    side = image_side(benchmark.metadata[choice.dataset].size, None)
    problems = list(import_problems(protocol, options, side))
    fitting = tuple(
        name for name in choice.evaluators if is_for_layout(protocol, name, options.layout)
    )
    if asked and fitting != choice.evaluators:
        others = [name for name in choice.evaluators if name not in fitting]
        problems.append(f"its evaluator {', '.join(others)} is for encoders of other methods")
    elif not fitting:
        problems.append(f"none of its evaluators here is for encoders of layout {options.layout!r}")
    if problems:
        raise UsageError(f"{options.weights}: protocol {protocol.id}: {'; '.join(problems)}")
    return replace(choice, evaluators=fitting)
