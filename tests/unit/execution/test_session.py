"""The executor that a session makes: by the name of a table, or by its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Bench, tiny

from backbench.benchmark.config import load_benchmark
from backbench.errors import ConfigError, PluginError, UsageError
from backbench.execution.session import Session
from backbench.options.base import Options
from backbench.plugin import Executor, ExecutorInfo
from backbench.plugin.packages import Origin
from backbench.plugin.registry import Registered, load_registry
from backbench.store.store import Store


class SiteOptions(Options):
    queue: str = "short"


class Site(Executor):
    @property
    def slots(self) -> int:
        return 1

    def submit(self, stage: Any) -> None: ...

    def wait(self) -> Any: ...


def session(folder: Path, name: str, **fields: Any) -> Session:
    info = ExecutorInfo(
        name="site", summary="S.", target=f"{__name__}:Site", options=SiteOptions, **fields
    )
    tables = {"night": (Registered(info, Origin("acme", "1", "x")), SiteOptions(queue="long"))}
    return Session(load_registry(), Store(folder / "store"), executor=name, executors=tables)


def test_a_table_gives_an_executor_its_options(tmp_path: Path) -> None:
    made = session(tmp_path, "night").executor_maker()()
    assert isinstance(made, Site)
    assert made.options.queue == "long"
    assert made.setup.store == tmp_path / "store"


def test_a_plugin_needs_no_table(tmp_path: Path) -> None:
    made = replace(session(tmp_path, "serial"), device="cpu").executor_maker()()
    assert type(made).__name__ == "SerialExecutor"


def test_a_package_that_is_missing_is_one_sentence(tmp_path: Path) -> None:
    needs = session(tmp_path, "night", requires={"no_such_package": "acme[site]"})
    with pytest.raises(UsageError, match=r"executor 'night' needs no_such_package, .*acme\[site\]"):
        needs.executor_maker()
    with pytest.raises(PluginError, match="no executor is called 'nigt'"):
        session(tmp_path, "nigt").executor_maker()


def test_a_file_names_its_executor(tiny_file: Path, bench: Bench) -> None:
    text = tiny().replace("seeds", 'executor = "mine"\nseeds', 1)
    tiny_file.write_text(f'{text}\n[executors.mine]\nplugin = "serial"\n', encoding="utf-8")
    benchmark = load_benchmark(tiny_file, load_registry())
    assert benchmark.executor == "mine"
    assert benchmark.executors["mine"].registered.info.name == "serial"
    tiny_file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"benchmark\.executor: no executor is called 'mine'"):
        load_benchmark(tiny_file, load_registry())
    tiny_file.write_text(f"{text}\n[executors.mine]\nplugin = 'seral'\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"executors\.mine\.plugin: .* did you mean 'serial'"):
        load_benchmark(tiny_file, load_registry())
