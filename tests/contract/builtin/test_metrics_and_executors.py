"""The conformance kit over every built-in metric, and over the executors that need no cluster."""

# ruff: noqa: RUF012 - options are written as a plugin author writes them

from __future__ import annotations

from backbench.testing import ExecutorContract, MetricContract
from tests.contract.builtin.shared import needs, record


class TestFlipRate(MetricContract):
    info = record("metric", "flip-rate")


class TestDER(MetricContract):
    info = record("metric", "der")


class TestRIR(MetricContract):
    info = record("metric", "rir")


class TestSerial(ExecutorContract):
    info = record("executor", "serial")


class TestLocal(ExecutorContract):
    info = record("executor", "local")


@needs("submitit")
class TestSlurm(ExecutorContract):
    info = record("executor", "slurm")
    options = {"cluster": "local", "poll_s": 0.1}
