"""``backbench reproduce``."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import click

from backbench.benchmark.config import Benchmark, benchmark_from
from backbench.benchmark.reproductions import Reproduction, fill, find_reproduction
from backbench.benchmark.reproductions.placeholder import TRAIN, VAL, add_stand_in
from backbench.cli import common
from backbench.cli.plan import as_json, show_plan
from backbench.cli.run import run_benchmark, run_options
from backbench.errors import UsageError
from backbench.estimate.cost import costs_of
from backbench.plugin.registry import Registry, load_registry
from backbench.store.store import Store, write_atomically


class _Seeds(click.ParamType[tuple[int, ...]]):
    name = "seeds"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Read ``0,1,2``."""
        words = str(value).split(",")
        if not all(word.strip().isdecimal() for word in words):
            self.fail(f"{value!r}: write whole numbers with commas between, 0,1,2", param, ctx)
        return tuple(int(word) for word in words)


@click.command("reproduce")
@click.argument("name", metavar="NAME")
@click.option(
    "--scale",
    type=click.Choice(["full", "cifar10", "embedded"]),
    default="full",
    show_default=True,
    help="On ImageNet-100, on CIFAR-10 at 32 px, or in the drawn world.",
)
@click.option("--plan", "only_plan", is_flag=True, help="Only say what it costs; run nothing.")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The images: ImageNet or ImageNet-100, or CIFAR-10 as a folder a class.",
)
@click.option(
    "--triggers",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The published trigger_10.png to trigger_19.png; else made ones of these numbers.",
)
@click.option("--seeds", type=_Seeds(), default="0", show_default=True, help="0,1,2 …")
@common.profile_option
@common.store_option
@run_options
@click.option(
    "--write",
    "target",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the benchmark file, to be edited, and do nothing else.",
)
@common.formats("table", "json", "csv", "markdown", "latex")
def command(  # noqa: PLR0917 - click passes them by name
    name: str,
    scale: str,
    data: Path | None,
    triggers: Path | None,
    seeds: tuple[int, ...],
    profile: str | None,
    store: Path,
    executor_name: str,
    jobs: int | None,
    device: str,
    target: Path | None,
    style: str,
    *,
    only_plan: bool,
) -> None:
    """Run, or only plan, a published matrix. NAME: saha2022.

    --plan prints cells, stages, image-steps, bytes on disk, and the hours that it would take on
    this machine, by training each method for some seconds. Figures that others have published of
    the same stand beside ours in the leaderboard.
    """
    found = find_reproduction(name, scale)
    stand_in = only_plan and scale == "full" and data is None
    if target is None and scale == "full" and data is None and not only_plan:
        raise UsageError(
            f"reproduce {name}: ImageNet-100 does not come with backbench: give --data DIR, the "
            "folder of ImageNet or ImageNet-100 with train and val in it; or --plan, or --scale "
            "cifar10 or embedded"
        )
    if only_plan and style not in {"table", "json"}:
        raise UsageError(f"--format {style}: a plan is printed as a table or as json")
    text = fill(found, data=data, triggers=triggers, seeds=seeds, stand_in=stand_in)
    if target is not None:
        _write(target, text)
        return
    registry = load_registry()
    if stand_in:
        add_stand_in(registry)
    benchmark = benchmark_from(
        tomllib.loads(text),
        source=f"{name}, scale {scale}",
        folder=Path.cwd(),
        registry=registry,
        profile=profile,
    )
    common.warn_of_failures(registry.failures)
    for line in _told(found, triggers, stand_in=stand_in):
        click.echo(line, err=not only_plan or style == "json")
    if only_plan:
        _plan(registry, benchmark, Store(store), device, style)
    else:
        run_benchmark(
            registry,
            benchmark,
            store,
            executor_name=executor_name,
            jobs=jobs,
            device=device,
            style=style,
        )


def _write(target: Path, text: str) -> None:
    if target.exists():
        raise UsageError(f"--write {target}: the file is there already: choose another name")
    write_atomically(target, text)
    click.echo(f"{target}: edit it, then `backbench run {target}`")


def _told(found: Reproduction, triggers: Path | None, *, stand_in: bool) -> list[str]:
    """Say what stands for what is not given."""
    lines = []
    if stand_in:
        lines.append(f"ImageNet-100 not given: counted with {TRAIN:,} + {VAL:,} images")
    if triggers is None:
        numbers = ", ".join(map(str, found.triggers))
        lines.append(
            f"triggers not given: made ones of the same numbers, {numbers}; the published files "
            "are used with --triggers DIR"
        )
    return lines


def _plan(registry: Registry, benchmark: Benchmark, store: Store, device: str, style: str) -> None:
    from backbench.estimate.hours import hours_of, print_hours

    plan = common.plan_of(benchmark, store, keep_hashes=store.exists)
    costs, done = costs_of(plan, benchmark, registry), store.done()
    if style == "table":
        show_plan(plan, costs, done)
    hours = hours_of(costs, store, registry, device, tell=lambda line: click.echo(line, err=True))
    if style == "table":
        from rich.console import Console

        print_hours(hours, Console())
    else:
        click.echo(json.dumps({**as_json(plan, costs, done), "hours": hours.as_json()}, indent=2))
