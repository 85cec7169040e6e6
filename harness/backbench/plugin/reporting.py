"""Common part of what may report numbers of its own."""

from __future__ import annotations

from collections.abc import Mapping


class Reporting:
    """Common part of attacks, defenses and evaluators: numbers of their own."""

    def report(self) -> Mapping[str, float]:
        """Return numbers about what the plugin has done in a stage, by name.

        They are stored in the record of the stage, and ``backbench show --metric PLUGIN/NAME``
        has a column of them. The harness calls it once, after ``fit``, :meth:`Attack.implant`, the
        poisons of an attack, :meth:`Defense.repair` or :meth:`Defense.sanitize`. Names are letters,
        digits and any of ``. = + - _``; numbers are finite. What can be computed from predictions
        is a metric instead: ``register_metrics``.
        """
        return {}
