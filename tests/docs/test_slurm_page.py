"""The tables of the page on SLURM are valid."""

from __future__ import annotations

import re
from pathlib import Path

from backbench.benchmark.config import load_benchmark
from backbench.execution.slurm.options import SlurmOptions
from backbench.model import Stage, StageKind
from backbench.plugin.registry import load_registry
from tests.conftest import tiny
from tests.docs.pages import HOW_TO


def test_its_tables_are_valid_and_reach_the_jobs(tiny_file: Path) -> None:
    page = (HOW_TO / "slurm.md").read_text(encoding="utf-8")
    tables, local = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    text = tiny().replace("[benchmark]\n", "")
    tiny_file.write_text(tables.replace("[executors", f"{text}\n[executors", 1), encoding="utf-8")
    header, rest = tiny_file.read_text().split("\n\n", 1)
    name = 'name = "tiny"\nseeds = [0]\n'
    tiny_file.write_text(f"{header}\n{name}{rest.replace(name, '')}", encoding="utf-8")
    benchmark = load_benchmark(tiny_file, load_registry())
    assert benchmark.executor == "slurm"
    options = benchmark.executors["slurm"].options
    assert isinstance(options, SlurmOptions)
    training = options.parameters(Stage(StageKind.PRETRAIN, None, 0), None)
    assert training["timeout_min"] == 720
    assert training["gpus_per_node"] == 1
    assert training["mem_gb"] == 16
    assert "gpus_per_node" not in options.parameters(Stage(StageKind.FEATURES, None, 0), None)
    assert 'cluster = "local"' in local
