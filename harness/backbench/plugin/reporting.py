"""Common part of what may report numbers of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from backbench.model import VARIANT_NAME

#: A name that a reported number may have.
REPORTED_NAME: Final = re.compile(VARIANT_NAME, re.ASCII)


class Reporting:
    """Common part of attacks, defenses and evaluators: numbers of their own."""

    def report(self) -> Mapping[str, float]:
        """Return numbers about what the plugin has done in a stage, by name.

        They are stored in the record of the stage, and ``backbench show --metric PLUGIN/NAME``
        has a column of them. The harness calls it once, after ``fit``, :meth:`Attack.implant`, the
        poisons of an attack, or any method of a :class:`Defense` but ``guard``. Names are letters,
        digits and any of ``. = + - _``; numbers are finite. What can be computed from predictions
        is a metric instead: ``register_metrics``.
        """
        return {}
