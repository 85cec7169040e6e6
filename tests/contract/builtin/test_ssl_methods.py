"""The conformance kit over every built-in method."""

# ruff: noqa: RUF012 - options are written as a plugin author writes them

from __future__ import annotations

from backbench.testing import SSLMethodContract
from tests.contract.builtin.shared import record


class TestMoCo(SSLMethodContract):
    info = record("ssl-method", "moco-v2")


class TestMoCoInGroups(SSLMethodContract):
    info = record("ssl-method", "moco-v2")
    options = {"dim": 8, "hidden": 16, "queue": 16, "norm_groups": 2}


class TestBYOL(SSLMethodContract):
    info = record("ssl-method", "byol")


class TestSimCLR(SSLMethodContract):
    info = record("ssl-method", "simclr")


class TestSimSiam(SSLMethodContract):
    info = record("ssl-method", "simsiam")


class TestJigsaw(SSLMethodContract):
    info = record("ssl-method", "jigsaw")


class TestRotNet(SSLMethodContract):
    info = record("ssl-method", "rotnet")
