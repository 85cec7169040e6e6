"""Columns of the leaderboard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from backbench.errors import PluginError
from backbench.plugin import Column, hookimpl
from backbench.plugin.packages import Origin
from backbench.plugin.registry import Registry
from backbench.testing import ColumnContract
from tests.contract.broken import broken


class Right:
    """It shows the accuracy on triggered images."""

    column: Any = Column("accuracy/triggered", "Triggered")

    @hookimpl
    def leaderboard_columns(self):
        yield self.column


class Kit(ColumnContract):
    __test__ = False
    sample: Any = Right

    def __init__(self) -> None:
        self.plugin = self.sample()


def harness(kit: Kit, folder: Path) -> None:
    """Collect the columns; what the registry reports is raised."""
    registry = Registry()
    registry.add(kit.plugin, Origin("broken", "", ""))
    registry.columns()
    if registry.failures:
        raise PluginError(registry.failures[0].reason)


_ANNOUNCES = "test_it_announces_columns"


@broken("test_metrics_are_known")
class UnknownMetric(Right):
    """Its metric is one that no row has."""

    column = Column("acuracy/triggered", "Triggered")


@broken("test_headings_are_short")
class NoHeading(Right):
    """It has no heading."""

    column = Column("asr", " ")


@broken("test_headings_are_short")
class HeadingOfTwoLines(Right):
    """Its heading has two lines."""

    column = Column("asr", "attack\nsuccess")


@broken(_ANNOUNCES, "bounds is .1.0, 0.0.")
class BoundsReversed(Right):
    """Its bounds fall."""

    column = Column("asr", "ASR", bounds=(1.0, 0.0))


@broken(_ANNOUNCES, "best is 'lowest'")
class NoSuchEnd(Right):
    """Its best end is neither high nor low."""

    column = Column("asr", "ASR", best="lowest")  # type: ignore[arg-type]


@broken(_ANNOUNCES, "decimals is '3'")
class DecimalsAsText(Right):
    """Its number of digits is a text."""

    column = Column("asr", "ASR", decimals="3")  # type: ignore[arg-type]


@broken("test_digits_can_be_shown")
class DecimalsBelowNothing(Right):
    """Its number of digits is negative."""

    column = Column("asr", "ASR", decimals=-1)


@broken(_ANNOUNCES, "announces the column 'asr'")
class OnlyItsName(Right):
    """It yields the name of a metric."""

    column = "asr"


@broken(_ANNOUNCES)
class NoColumn(Right):
    """It yields no column."""

    @hookimpl
    def leaderboard_columns(self):
        return ()


@broken(_ANNOUNCES, "raised NameError")
class Raises(Right):
    """It raises."""

    @hookimpl
    def leaderboard_columns(self):
        raise NameError("Colum")
