"""The conformance kit over this plugin: ``pytest contract_tests.py`` where both are installed."""

# ruff: noqa: RUF012 - nobody changes them

from backbench_sample import CORNER_DOT, DENSITY_FILTER

from backbench.testing import AttackContract, DefenseContract


class TestCornerDot(AttackContract):
    info = CORNER_DOT
    options = {"target": "bee"}


class TestDensityFilter(DefenseContract):
    info = DENSITY_FILTER
    options = {"drop": 0.1, "neighbors": 3}
