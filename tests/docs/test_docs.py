"""The pages say what the code does: hooks, links, commands, the benchmark files in them."""

from __future__ import annotations

import importlib
import inspect
import re
import runpy
import sys
import tomllib
from pathlib import Path

import click
import numpy as np
import pytest

import backbench.plugin
from backbench.cli.root import cli
from backbench.images import ArrayImages
from backbench.plugin import DatasetMetadata
from backbench.plugin.hookspecs import BackbenchHooks
from backbench.plugin.packages import Origin
from backbench.plugin.registry import Registry
from backbench.poison.access import Access
from backbench.poison.choice import choose
from backbench.poison.poisoning import stamp

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def test_there_are_pages() -> None:
    assert len(PAGES) > 10


def test_every_hook_and_its_arguments_are_documented() -> None:
    page = (ROOT / "docs" / "reference" / "hooks.md").read_text(encoding="utf-8")
    for name, hook in inspect.getmembers(BackbenchHooks, inspect.isfunction):
        arguments = [one for one in inspect.signature(hook).parameters if one != "self"]
        assert f"`{name}({', '.join(arguments)})`" in page


def test_every_name_of_the_plugin_interface_is_documented() -> None:
    page = (ROOT / "docs" / "reference" / "hooks.md").read_text(encoding="utf-8")
    _, _, table = page.partition("## Names of `backbench.plugin`")
    named = set(re.findall(r"`(\w+)`", table)) - {"uint8", "int64"}
    assert named == set(backbench.plugin.__all__)


def test_the_map_of_rooms_has_every_room() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    modules = {path.stem for path in (ROOT / "harness" / "backbench").glob("[!_]*.py")}
    folders = {path.parent.name for path in (ROOT / "harness" / "backbench").glob("*/__init__.py")}
    rooms = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    named = set(re.findall(r"`([a-z]+)/?`", " ".join(rooms)))
    assert (modules | folders) - named == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_their_options_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    context = cli.make_context("backbench", [], resilient_parsing=True)
    for line in re.findall(r"^\$ (?:\S*/)?backbench (.+)$", text, flags=re.MULTILINE):
        name, *rest = line.partition("#")[0].split()
        command = cli.get_command(context, name)
        assert command is not None, line
        if isinstance(command, click.Group) and rest:
            _, command, rest = command.resolve_command(context, rest)
            assert command is not None, line
        known = {flag for one in command.get_params(context) for flag in one.opts}
        for word in rest:
            if word.startswith("--"):
                assert word.partition("=")[0] in known, line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_toml_parses(page: Path) -> None:
    for block in re.findall(r"```toml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        tomllib.loads(block)


def test_the_plugin_in_the_how_to_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write the files that the page shows, register them, and poison with them."""
    page = (ROOT / "docs" / "how-to" / "write-a-plugin.md").read_text(encoding="utf-8")
    package = tmp_path / "my_attack"
    package.mkdir()
    for name in ("__init__.py", "corner.py"):
        block = re.search(rf"```python\n# my_attack/{name}.*?\n(.*?)```", page, re.DOTALL)
        assert block is not None, name
        (package / name).write_text(block[1], encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)

    registry = Registry()
    registry.add(importlib.import_module("my_attack"), Origin("my-attack", "1.0", "my-attack"))
    assert registry.failures == []
    found = registry.find("attack", "corner")
    options = found.info.options.model_validate({"target": "wren"})
    metadata = DatasetMetadata(("heron", "wren"), 8, 8, (16, 16), (4, 4))
    assert list(options.problems(metadata)) == []
    attack = found.implementation()(options, metadata)
    images = ArrayImages(
        np.zeros((8, 16, 16, 3), np.uint8), np.arange(8) // 4, [str(i) for i in range(8)]
    )
    chosen = list(choose(attack, Access(images), seed=0))
    assert len(chosen) == 2
    assert set(images.labels[chosen]) == {1}
    pixels, mark = stamp(attack, images, chosen[0], "train", seed=0)
    assert mark.box == (0, 0, 4, 4)
    assert (pixels[:4, :4] == (255, 0, 0)).all()


def test_the_attack_of_the_page_on_composing_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "docs" / "how-to" / "attacks-that-compose.md").read_text(encoding="utf-8")
    for name, block in re.findall(r"```python\n# (\w+/\w+\.py)[^\n]*\n(.*?)```", page, re.DOTALL):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(block, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_attack", raising=False)

    contract = runpy.run_path(str(tmp_path / "tests" / "test_contract.py"))["TestBeside"]()
    for name in dir(contract):
        if name.startswith(
            ("test_cho", "test_com", "test_sta", "test_lab", "test_set", "test_eve")
        ):
            getattr(contract, name)()
    others = contract.info.options.model_validate({"target": "ant", "others": "places"})
    assert others.sets() == {"others": "places"}
    assert "others" not in others.identity()


def test_the_code_of_the_library_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "how-to" / "use-as-a-library.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    (benchmark,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    Path("benchmarks.toml").write_text(benchmark, encoding="utf-8")
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(block, names)
    assert {"run", "results", "records", "mine"} <= names.keys()
