"""The benchmarks are no package of the distribution: they are found from the checkout's root."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _root_on_path(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[3]))
