"""The site has every page, and its reference every option, hook, command, metric and exit code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from docs.site import reference
from docs.site.build import ROOT, contents, sections
from pydantic import BaseModel

from backbench.cli.root import COMMANDS, cli
from backbench.errors import ExitCode
from backbench.keys import KEY_SCHEMA
from backbench.plugin.hookspecs import BackbenchHooks
from backbench.plugin.infos import KINDS, OWN_METRICS
from backbench.plugin.registry import load_registry
from backbench.report.defenses import DETECTION
from backbench.report.verdicts import COLUMNS
from backbench.results.leaderboard import LIFTS
from backbench.store.records import SCHEMA

DOCS = ROOT / "docs"


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def under(title: str, text: str) -> str:
    """Return the section of a page with this heading."""
    _, found, rest = f"\n{text}".partition(f"\n## {title}\n")
    assert found, title
    return rest.partition("\n## ")[0]


def slugs(text: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    plain = (
        re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", one)
        for one in re.findall(r"^#+ (.+)", text, re.MULTILINE)
    )
    return {re.sub(r"[^\w\- ]", "", one.lower()).strip().replace(" ", "-") for one in plain}


def test_every_page_is_in_the_navigation_once() -> None:
    shown = [name for names in sections().values() for name in names]
    pages = {str(one.relative_to(ROOT).with_suffix("")) for one in DOCS.rglob("*.md")}
    decisions = {one for one in pages if one.startswith("docs/adr/0")}
    assert sorted(shown) == sorted(pages - decisions - {"docs/README"})
    listed = re.findall(r"\]\((0\S+)\.md\)", page("adr/README.md"))
    assert listed == sorted(one.removeprefix("docs/adr/") for one in decisions)
    navigation = contents({"docs/reference/commands.md": ""}).splitlines()
    assert {*shown, *decisions, "docs/reference/commands"} <= set(navigation)


@pytest.mark.parametrize(
    "path", [*DOCS.rglob("*.md"), *ROOT.glob("*.md")], ids=lambda one: one.name
)
def test_anchors_exist(path: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", path.read_text(encoding="utf-8")):
        text = (path.parent / target if target else path).read_text(encoding="utf-8")
        assert anchor in slugs(text), f"{target}#{anchor}"


def names_of(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from names_of(field.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


@pytest.mark.parametrize("kind", KINDS)
def test_every_option_of_a_plugin_is_on_its_page(kind: str) -> None:
    ours = [one for one in load_registry().all() if one.info.kind == kind]
    ours = [one for one in ours if one.origin.distribution == "backbench"]
    text = reference.options_page(kind)
    for one in ours:
        section = under(f"`{one.info.name}`", text)
        shown = re.findall(r"^`(\S+)`\n: `.+` · (?:required|default `.*`)", section, re.MULTILINE)
        assert shown == list(names_of(one.info.options))
        assert section.count("\n\n  ") == len(shown), "each has a meaning"


def test_every_command_and_its_options_are_on_the_page() -> None:
    text = reference.commands_page()
    for name in COMMANDS:
        under(f"`backbench {name}`", text)
    for path, command, _ in reference.commands():
        shown = [one for one in command.params if isinstance(one, click.Option) and not one.hidden]
        section = under(f"`{path}`", text)
        assert all(flag in section for one in shown for flag in one.opts), path
        if isinstance(command, click.Group) and command is not cli:
            for inner in command.list_commands(click.Context(command)):
                under(f"`{path} {inner}`", text)


def test_the_hooks_are_in_the_order_of_a_run() -> None:
    hooks = [name for name, one in vars(BackbenchHooks).items() if hasattr(one, "backbench_spec")]
    assert re.findall(r"BackbenchHooks\.(\w+)", reference.hooks_page()) == hooks
    assert (
        re.findall(r"^\| `(\w+)\((?:event|cli)?\)`", page("reference/hooks.md"), re.MULTILINE)
        == hooks
    )


def test_every_metric_is_listed_and_defined() -> None:
    listed = reference.metrics_page()
    defined = page("reference/metrics.md")
    columns = {one.metric for one in (*DETECTION, *COLUMNS)}
    for name in {*OWN_METRICS, *columns, *LIFTS}:
        assert f"| `{name}` |" in listed
        short = name.partition("/")[2]
        full = f"`{name}`" in defined
        suffix = re.sub(r"^precision_at_", "_", short)
        assert full or f"`{short}`" in defined or f"`{suffix}`" in defined, name


def test_every_exit_code_is_explained() -> None:
    explained = re.findall(r"^\| (\d+) \|", page("reference/running.md"), re.MULTILINE)
    assert [int(one) for one in explained] == [int(one) for one in ExitCode]
    text = reference.errors_page()
    assert all(f"`~backbench.errors.{one.__name__}`" in text for one in reference.errors())


def test_the_page_of_file_formats_has_the_versions() -> None:
    text = page("reference/file-formats.md")
    assert f"`schema` {SCHEMA}" in text
    assert f"schema of keys {KEY_SCHEMA} |" in text
