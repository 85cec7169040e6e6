"""``backbench schema``."""

from __future__ import annotations

import click

from backbench.benchmark.file import json_schema
from backbench.cli import common
from backbench.errors import PluginError
from backbench.plugin.registry import load_registry
from backbench.system.json_text import to_json


@click.command("schema")
def command() -> None:
    """Print the JSON Schema of a benchmark file.

    It knows the options of the installed plugins. Editors that understand TOML schemas complete
    and check a benchmark file with it.
    """
    registry = load_registry()
    left_out: list[PluginError] = []
    schema = json_schema(registry, left_out)
    common.say("warning", [*registry.failures, *left_out])
    click.echo(to_json(schema, indent=2))
