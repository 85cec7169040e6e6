"""Evaluation of an encoder that is in memory."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Unpack

from backbench.api.running import run_with_results
from backbench.evaluation.module import Named, module_benchmark, module_plan
from backbench.execution.in_memory import run_with_encoders
from backbench.execution.session import How
from backbench.plugin.registry import load_registry
from backbench.report.results import Run
from backbench.store import DEFAULT_STORE
from backbench.store.location import open_store
from backbench.system.files import PathLike

if TYPE_CHECKING:
    from torch.nn import Module


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
    return run_with_results(registry, partial(run_with_encoders, plan=plan, encoders=encoders), how)
