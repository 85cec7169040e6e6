"""``backbench schema``."""

from __future__ import annotations

import json

import click

from backbench.benchmark.file import json_schema
from backbench.cli import common
from backbench.plugin.registry import load_registry


@click.command("schema")
def command() -> None:
    """Print the JSON Schema of a benchmark file.

    It knows the options of the installed plugins. Editors that understand TOML schemas complete
    and check a benchmark file with it.
    """
    registry = load_registry()
    common.say("warning", registry.failures)
    click.echo(json.dumps(json_schema(registry), indent=2))
