"""The conformance kit over the defense: ``python -m pytest``."""

from backbench.testing import DefenseContract

from my_defense import DEFENSE


class TestMyDefense(DefenseContract):
    """Repairs a tiny encoder."""

    info = DEFENSE
    options = {"share": 0.5}  # noqa: RUF012 - a constant
