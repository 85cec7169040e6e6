"""The page on trackers: its tables are valid, and its example passes its contract."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from backbench.plugin.registry import load_registry
from backbench.testing import NamedObserverContract
from tests.contract.broken import run
from tests.docs.pages import HOW_TO, written

PAGE = (HOW_TO / "trackers.md").read_text(encoding="utf-8")


def test_its_tables_are_valid_and_name_every_tracker(bench: Any, tiny_file: Path) -> None:
    (tables,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    tiny_file.write_text(tiny_file.read_text() + tables, encoding="utf-8")
    bench("check", str(tiny_file)).assert_ok()
    assert re.findall(r"\[observers\.(.*)\]", tables) == ["tensorboard", "wandb", "mlflow"]


def test_its_example_passes_its_contract(tmp_path: Path) -> None:
    with written("trackers.md", "my_tracker", tmp_path):
        found = load_registry().find("observer", "lab")
        kit = type("Kit", (NamedObserverContract,), {"info": found.info})()
        for name in (one for one in dir(kit) if one.startswith("test_it_")):
            run(kit, name, tmp_path)
