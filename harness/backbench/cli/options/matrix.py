"""Options for the published matrix that ``reproduce`` runs, and its data."""

from __future__ import annotations

from typing import Final

import click

from backbench.cli.options.paths import UserPath
from backbench.cli.options.shared import together

#: Characters of a seed.
_LONGEST: Final = 20


class Seeds(click.ParamType[tuple[int, ...]]):
    """Whole numbers with commas between: ``0,1,2``."""

    name = "seeds"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Read ``0,1,2``."""
        words = str(value).split(",")
        if not all(word.strip().isdecimal() and len(word) <= _LONGEST for word in words):
            self.fail(f"{value!r}: write whole numbers with commas between, 0,1,2", param, ctx)
        return tuple(int(word) for word in words)


matrix_options = together(
    click.option(
        "--scale",
        type=click.Choice(["full", "cifar10", "embedded"]),
        default="full",
        show_default=True,
        help="On ImageNet-100, on CIFAR-10 at 32 px, or in the drawn world.",
    ),
    click.option(
        "--data",
        type=UserPath(),
        metavar="DIR",
        help="The images: ImageNet or ImageNet-100, or CIFAR-10 as a folder a class.",
    ),
    click.option(
        "--triggers",
        type=UserPath(),
        metavar="DIR",
        help="The published trigger_10.png to trigger_19.png; else made ones of these numbers.",
    ),
    click.option("--seeds", type=Seeds(), default="0", show_default=True, help="0,1,2 …"),
    click.option(
        "--write",
        "target",
        type=UserPath(dir_okay=False),
        metavar="FILE",
        help="Write the benchmark file, to be edited, and do nothing else.",
    ),
)
