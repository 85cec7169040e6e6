"""Plugins that a page writes from the empty folder, as if they were installed."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from backbench.testing import base

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"


@contextmanager
def written(page: str, package: str, folder: Path) -> Iterator[Path]:
    """Write the files of a page into a folder, and register them as an installed distribution."""
    text = (HOW_TO / page).read_text(encoding="utf-8")
    for name, code in re.findall(r"```(?:python|toml)\n# (\S+)\n(.*?)```", text, re.DOTALL):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(code, encoding="utf-8")
    distribution = package.replace("_", "-")
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[backbench]\n{distribution} = {package}\n")
    base.installed.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setenv("PYTHONPATH", str(folder))  # of child processes
        yield folder
    base.installed.cache_clear()
    own = {package, package.replace("my_", "test_")}
    for name in [one for one in sys.modules if one.partition(".")[0] in own]:
        del sys.modules[name]


def passes(module: str, contract: str) -> int:
    """Run the tests of a page's contract that need no fixture; return how many there are."""
    tested = getattr(importlib.import_module(module), contract)()
    tests = [one for name, one in inspect.getmembers(tested) if name.startswith("test_")]
    plain = [one for one in tests if not inspect.signature(one).parameters]
    for test in plain:
        test()
    return len(plain)
