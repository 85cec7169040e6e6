"""Presets that a plugin reads from the files of its package."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from backbench.errors import PluginError
from backbench.plugin import presets_of


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a package without presets that can be imported."""
    folder = tmp_path / "acme_presets"
    folder.mkdir()
    (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, folder.name, raising=False)
    return folder


def write(package: Path, preset: str, text: str) -> Path:
    file = package / "presets" / preset / "disc.toml"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    return file


def test_a_plugin_has_the_presets_of_the_folders_with_a_file_of_its_name(package: Path) -> None:
    write(package, "small", "width = 8\n[optimizer]\nlr = 0.1\n")
    (package / "presets" / "published").mkdir()
    presets = presets_of("acme_presets", "disc")
    assert presets == {"small": {"width": 8, "optimizer": {"lr": 0.1}}}
    assert {**presets["small"]} == {"width": 8, "optimizer": {"lr": 0.1}}


def test_a_damaged_preset_is_an_error_only_where_its_values_are_needed(package: Path) -> None:
    write(package, "small", "width = 8\n")
    file = write(package, "large", "width = \n")
    presets = presets_of("acme_presets", "disc")
    assert presets["small"]["width"] == 8
    with pytest.raises(PluginError, match=r"Invalid value .*: correct or remove it") as caught:
        len(presets["large"])
    assert str(file) in str(caught.value)
