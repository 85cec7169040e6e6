"""``backbench evaluate``."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import click

from backbench.cli import common
from backbench.cli.run import run_options, run_plan
from backbench.data.fingerprint import FileHashes
from backbench.errors import UsageError
from backbench.external.encoder_options import NORMALIZATIONS, normalization
from backbench.external.import_plan import (
    Choice,
    GivenHead,
    Imported,
    check_encoder,
    choose,
    plan_import,
)
from backbench.external.importing import describe, inspect
from backbench.external.layouts import AUTO, LAYOUTS
from backbench.external.protocol import under_protocol
from backbench.external.reader import check_safetensors, content_of
from backbench.model import NONE, Plan
from backbench.options.training import image_side
from backbench.store.store import Store

_LAYOUTS = "\n\n".join(f"{layout.name}: {layout.summary}." for layout in LAYOUTS.values())


@click.command("evaluate", epilog=f"Layouts:\n\n{_LAYOUTS}")
@common.benchmark_argument
@click.option(
    "--weights",
    type=click.Path(path_type=Path),
    required=True,
    help="File of weights; of our own encoders, their folder.",
)
@click.option(
    "--layout",
    default=AUTO,
    show_default=True,
    metavar="NAME",
    help="How the file is laid out; auto: as its keys say.",
)
@click.option("--arch", metavar="NAME", help="resnet18, …, timm/NAME. Default: as the shapes say.")
@click.option(
    "--stem",
    type=click.Choice([AUTO, "imagenet", "cifar", "cifar-padded"]),
    default=AUTO,
    show_default=True,
    help="First layers of a ResNet; auto: as the first kernel says.",
)
@click.option(
    "--image-size",
    type=click.IntRange(min=1),
    help="Side in pixels at which images are seen. Default: the dataset's own, else 224.",
)
@click.option(
    "--normalize",
    metavar="NAME",
    help=f"{', '.join(NORMALIZATIONS)}, or means/deviations: 0.5,0.5,0.5/0.25,0.25,0.25. "
    "Default: imagenet.",
)
@click.option("--name", metavar="NAME", help="Name of the row. Default: the file's.")
@click.option(
    "--attack",
    "attacks",
    multiple=True,
    metavar="NAME",
    help="Attack of the file whose trigger is shown. Default: none.",
)
@click.option("--dataset", metavar="NAME", help="Dataset of the file. Default: the only one.")
@click.option(
    "--evaluator",
    "evaluators",
    multiple=True,
    metavar="NAME",
    help="Evaluator of the file. Default: all that its matrix uses.",
)
@click.option("--seed", type=click.IntRange(min=0), help="Default: the first of the file.")
@click.option(
    "--control",
    type=click.Path(path_type=Path),
    help="An encoder that was trained alike on clean data, in the same layout.",
)
@click.option(
    "--head",
    type=click.Path(path_type=Path),
    help="head.safetensors of a former evaluation, used instead of fitting one.",
)
@common.store_option
@run_options
@common.formats("table", "json", "csv", "markdown", "latex")
def command(  # noqa: PLR0917 - click passes them by name
    file: Path,
    weights: Path,
    layout: str,
    arch: str | None,
    stem: str,
    image_size: int | None,
    normalize: str | None,
    name: str | None,
    attacks: tuple[str, ...],
    dataset: str | None,
    evaluators: tuple[str, ...],
    seed: int | None,
    control: Path | None,
    head: Path | None,
    store: Path,
    executor_name: str,
    jobs: int | None,
    device: str,
    style: str,
) -> None:
    """Evaluate an encoder that was trained elsewhere.

    The dataset, the attacks whose triggers are shown, and the evaluators are those of BENCHMARK
    (default: benchmarks.toml). Its images and triggers are shared with `backbench run` in the
    same store. The row is marked: what an external encoder has seen is not known.

    Weights are read without running anything that is in the file. Every tensor of the network has
    to come out of it, and none of its backbone's may be left over.
    """
    wanted = normalization(normalize) if normalize is not None else None
    registry, benchmark = common.load(file, None, trains=False)
    choice = choose(benchmark, dataset=dataset, attacks=attacks, evaluators=evaluators, seed=seed)
    shown = benchmark.metadata[choice.dataset].size

    def imported(path: Path) -> Imported:
        options, taken = inspect(
            path,
            layout=layout,
            arch=arch,
            stem=stem,
            image_size=image_size,
            normalize=wanted,
            usual_size=image_side(shown, None),
        )
        click.echo(describe(options, taken), err=True)
        return Imported(options, content_of(options.weights))

    encoder = imported(weights)
    choice = under_protocol(benchmark, choice, encoder.options, evaluators)
    given = _head(head, choice)
    clean = _control(control, choice, imported)
    for one in (encoder, clean):
        if one is not None:
            check_encoder(benchmark, choice, one.options)
    row = name or _row_name(encoder.options.weights)

    def make_plan(where: Store) -> Plan:
        hashes = FileHashes(where.files_cache)
        found = {choice.dataset: benchmark.datasets[choice.dataset].fingerprint(hashes)}
        hashes.save()
        return plan_import(benchmark, found, choice, row, encoder, control=clean, head=given)

    run_plan(
        registry,
        make_plan,
        store,
        executor_name=executor_name,
        jobs=jobs,
        device=device,
        style=style,
    )


def _head(path: Path | None, choice: Choice) -> GivenHead | None:
    if path is None:
        return None
    if len(choice.evaluators) != 1:
        raise UsageError(
            f"--head: a head is one evaluator's: say whose with --evaluator "
            f"({', '.join(choice.evaluators)})"
        )
    check_safetensors(path)
    return GivenHead(path.absolute(), content_of(path))


def _control(
    path: Path | None, choice: Choice, imported: Callable[[Path], Imported]
) -> Imported | None:
    triggers = [name for name in choice.attacks if name != NONE]
    if path is not None and not triggers:
        raise UsageError("--control: there is no trigger to control for: say which with --attack")
    if path is None and triggers:
        click.echo(
            "no --control: how much of the trigger's effect an encoder without a backdoor would "
            "show is not known",
            err=True,
        )
    return None if path is None else imported(path)


def _row_name(path: Path) -> str:
    """Return the name of a file without its endings; of our own encoders, the folder's."""
    if path.name == "encoder.safetensors":
        return path.absolute().parent.name
    return re.sub(r"(\.(pth|pt|tar|ckpt|safetensors|bin))+$", "", path.name) or path.name
