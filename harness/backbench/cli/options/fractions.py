"""Options for the part of each class that ``data filelist`` takes."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

import click

#: Decimals of a fraction, which are part of a list's name.
_MOST_DECIMALS: Final = 20


def _fractions(
    _context: click.Context, _option: click.Parameter, texts: Sequence[str]
) -> list[Decimal]:
    """Read parts of a whole: ``0.01`` or ``1%``."""
    numbers = []
    for text in texts:
        try:
            number = Decimal(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
            is_part = 0 < number <= 1
        except ArithmeticError:  # no number, or none that compares or can be divided
            is_part = False
        if not is_part:
            raise click.BadParameter(f"{text!r} is not a fraction: say 0.01, 1% or, for all, 1")
        if -int(number.normalize().as_tuple().exponent) > _MOST_DECIMALS:
            raise click.BadParameter(f"{text!r} has more than {_MOST_DECIMALS} decimals")
        numbers.append(number)
    return list(dict.fromkeys(numbers))


fraction_option = click.option(
    "--fraction",
    "fractions",
    callback=_fractions,
    multiple=True,
    default=["1"],
    show_default="1",
    metavar="FRACTION",
    help="Part of each class's training images, 0.01 or 1%; may be given several times.",
)
