"""What tests of strangers' plugins share.

Every plugin here is a module and a ``.dist-info`` folder in a temporary place on ``sys.path``: what
an installer leaves, found by the standard library's own means.
"""

from __future__ import annotations

import itertools
import textwrap

import pytest

from backbench.plugin.registry import Registry

_NUMBERS = itertools.count()

HEAD = """
from backbench.plugin import *  # every name, those that need torch too
"""

GOOD = """
@hookimpl
def register_attacks():
    yield AttackInfo(name="checker", summary="A checkerboard.", target="nowhere.checker:Checker")
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a distribution: ``install("acme-checker", code)``; return its module's name."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(name, code, version="1.2", entry_point="checker"):
        module = f"stranger_{next(_NUMBERS)}"
        (tmp_path / f"{module}.py").write_text(HEAD + textwrap.dedent(code))
        info = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        with (info / "entry_points.txt").open("a") as file:
            file.write(f"[backbench]\n{entry_point} = {module}\n")
        return module

    return install


def only_failure(registry: Registry) -> str:
    assert len(registry.failures) == 1, registry.failures
    text = str(registry.failures[0])
    assert "\n" not in text
    return text
