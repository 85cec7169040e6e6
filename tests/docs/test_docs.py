"""The pages say what the code does: hooks, links, commands, the benchmark files in them."""

from __future__ import annotations

import inspect
import re
import tomllib
from pathlib import Path

import pytest

from backbench.cli.main import cli
from backbench.hookspecs import BackbenchHooks

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def test_there_are_pages() -> None:
    assert len(PAGES) > 10


def test_every_hook_and_its_arguments_are_documented() -> None:
    page = (ROOT / "docs" / "reference" / "hooks.md").read_text(encoding="utf-8")
    for name, hook in inspect.getmembers(BackbenchHooks, inspect.isfunction):
        arguments = [one for one in inspect.signature(hook).parameters if one != "self"]
        assert f"`{name}({', '.join(arguments)})`" in page


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
        known = {flag for one in command.get_params(context) for flag in one.opts}
        for word in rest:
            if word.startswith("--"):
                assert word.partition("=")[0] in known, line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_toml_parses(page: Path) -> None:
    for block in re.findall(r"```toml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        tomllib.loads(block)
