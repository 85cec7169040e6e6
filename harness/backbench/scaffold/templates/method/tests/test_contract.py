"""The conformance kit over the method: ``python -m pytest``."""

from backbench.testing import SSLMethodContract

from my_method import METHOD


class TestMyMethod(SSLMethodContract):
    """Trains for two epochs with a tiny backbone."""

    info = METHOD
    options = {"dim": 8, "hidden": 16}  # noqa: RUF012 - a constant
