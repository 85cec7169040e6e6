"""Published configurations to TOML, and back."""

from __future__ import annotations

from pathlib import Path

from backbench.errors import ConfigError, Problem, UsageError
from backbench.plugin.registry import Registry
from backbench.poison.files.published import from_values, write_published
from backbench.poison.files.request import read_instances, read_tables
from backbench.poison.files.tables import to_toml


def convert(source: Path, target: Path, registry: Registry) -> list[str]:
    """Turn a published configuration into TOML, or a TOML file into such a configuration.

    Args:
        source: The file to read.
        target: The file to write; not there yet.
        registry: The installed plugins.

    Returns:
        What has no counterpart on the other side.

    Raises:
        ConfigError: If the source is at problem, or cannot be said on the other side.
        UsageError: If a file cannot be read, or the target is there.
    """
    if target.exists():
        raise UsageError(f"{target}: is there already; remove it or choose another name")
    if not target.parent.is_dir():
        raise UsageError(f"{target}: there is no folder {target.parent}; make it first")
    tables, notes, is_ours = read_tables(source)
    if not is_ours:
        text = to_toml(tables, heading=(f"From {source.name}: backbench poison {target.name}",))
    else:
        text, notes = _to_published(source, registry)
    partial = target.with_name(f".{target.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(target)
    return notes


def _to_published(source: Path, registry: Registry) -> tuple[str, list[str]]:
    found = read_instances(source, {}, registry)
    dataset, attack = found.dataset, found.attack
    problems = [
        Problem(one.path, f"the published code knows the plugin {wanted!r} only")
        for one, wanted in ((dataset, "image-folder"), (attack, "patch"))
        if one.registered.info.name != wanted
    ]
    if problems:
        raise ConfigError(str(source), problems)
    published, notes = from_values(
        {**found.poison.model_dump(), "seed": found.seed},
        dataset.options.model_dump(),
        attack.options.model_dump(),
        source,
    )
    return write_published(published), notes
