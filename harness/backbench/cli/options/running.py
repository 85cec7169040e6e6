"""Options for how stages run."""

from __future__ import annotations

from typing import Any

import click

from backbench.cli.options.shared import together

run_options = together(
    click.option("--executor", help="Which executor. Default: the benchmark file's, else local."),
    click.option(
        "-j",
        "--jobs",
        type=click.IntRange(min=1),
        help="Stages at a time. Default: one a GPU, else one a core.",
    ),
    click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:0 …"),
    click.option("--observe", metavar="NAME", multiple=True, help="Pass the run on to a tracker."),
)


def pop_how(given: dict[str, Any]) -> dict[str, Any]:
    """Take the values of :data:`run_options` out of a command's."""
    values = {name: given.pop(name) for name in ("executor", "jobs", "device", "observe")}
    return {name: value for name, value in values.items() if value is not None}
