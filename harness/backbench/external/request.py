"""What is asked of an encoder that was trained elsewhere, and the plan that answers it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from backbench.benchmark.config import Benchmark
from backbench.benchmark.planning import fingerprints_of
from backbench.errors import UsageError
from backbench.external.encoder_options import ImportOptions, normalization
from backbench.external.import_plan import (
    Choice,
    Imported,
    ImportedClassifier,
    check_encoder,
    choose,
    plan_import,
)
from backbench.external.importing import describe, inspect
from backbench.external.layouts import AUTO
from backbench.external.protocol import under_protocol
from backbench.external.reader import check_safetensors, content_of
from backbench.model import NONE, Plan
from backbench.options.training import image_side
from backbench.store.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderRequest:
    """An encoder in a file, and what it is evaluated on: the options of ``backbench evaluate``."""

    weights: Path
    layout: str = AUTO
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
    wanted = normalization(asked.normalize) if asked.normalize is not None else None
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
        options, taken = inspect(
            path,
            layout=asked.layout,
            arch=asked.arch,
            stem=asked.stem,
            image_size=asked.image_size,
            normalize=wanted,
            usual_size=image_side(shown, None),
        )
        notes.append(describe(options, taken))
        return Imported(options, content_of(options.weights))

    encoder = imported(asked.weights)
    choice = under_protocol(benchmark, choice, encoder.options, asked.evaluators)
    classifier = _classifier(asked.classifier, choice)
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
    return Evaluation(benchmark, choice, name, encoder, control, classifier, tuple(notes))


def _classifier(path: Path | None, choice: Choice) -> ImportedClassifier | None:
    if path is None:
        return None
    if len(choice.evaluators) != 1:
        raise UsageError(
            f"--classifier: a classifier belongs to one evaluator: name it with --evaluator "
            f"({', '.join(choice.evaluators)})"
        )
    check_safetensors(path)
    return ImportedClassifier(path.absolute(), content_of(path))


def _row_name(path: Path) -> str:
    """Return the name of a file without its endings; of our own encoders, the folder's."""
    if path.name == "encoder.safetensors":
        return path.absolute().parent.name
    return re.sub(r"(\.(pth|pt|tar|ckpt|safetensors|bin))+$", "", path.name) or path.name
