"""New plugins: names, problems, and whether the code is as clean as ours under any name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import Bench

from backbench.errors import UsageError
from backbench.plugin.registry import Registry, load_registry
from backbench.scaffold import TEMPLATES, new_plugin
from backbench.scaffold.new import read_template, renamed

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry()


@pytest.mark.parametrize(
    ("kind", "name", "problem"),
    [
        ("attack", "My_Patch", "is not in kebab-case, such as my-patch"),
        ("attack", "a--b", "is not in kebab-case"),
        ("attack", "../up", "is not in kebab-case"),
        ("attack", "", "is not in kebab-case"),
        ("attack", "a" * 37, "has 37 characters, and 36 are the most"),
        ("attack", "3-patches", "begins with a digit"),
        ("attack", "class", "is a word of Python's own"),
        ("attack", "none", "is reserved: no attack can have it"),
        ("metric", "asr", "is reserved: no metric can have it"),
        ("attack", "patch", "is already the attack 'patch' of backbench"),
        ("method", "byol", "is already the ssl-method 'byol' of backbench"),
        ("observer", "numpy", "is already an installed package"),
        ("observer", "json", "is already an installed package"),
        ("attack", "backbench", "is already an installed package"),
        ("attack", "stamp", "would make a class Stamp, which the code uses for something else"),
        ("method", "two-view", "would make a class TwoViewOptions"),
    ],
)
def test_a_name_that_cannot_be_used_ends_in_a_sentence(
    tmp_path: Path, registry: Registry, kind: str, name: str, problem: str
) -> None:
    with pytest.raises(UsageError, match="choose another name") as failed:
        new_plugin(kind, name, tmp_path, registry)
    assert problem in str(failed.value)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_exists_is_left_alone(tmp_path: Path, registry: Registry) -> None:
    (tmp_path / "my-patch").mkdir()
    with pytest.raises(UsageError, match="exists: choose another name, or another folder"):
        new_plugin("attack", "my-patch", tmp_path, registry)
    assert not list((tmp_path / "my-patch").iterdir())


def test_a_folder_that_cannot_be_written_ends_in_a_sentence(
    tmp_path: Path, registry: Registry
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        new_plugin("attack", "my-patch", tmp_path / "file", registry)


def test_the_command_prints_what_is_next(bench: Bench) -> None:
    made = bench("plugin", "new", "attack", "my-patch", "--out", "a folder").assert_ok()
    assert "'a folder/my-patch/benchmark.toml'" in made.out
    assert Path("a folder/my-patch/my_patch/attack.py").is_file()
    again = bench("plugin", "new", "attack", "my-patch", "--out", "a folder")
    assert again.code == 2
    assert again.err.count("\n") == 1


def test_an_unknown_kind_is_refused(bench: Bench) -> None:
    assert bench("plugin", "new", "atack", "my-patch").code == 2


@pytest.mark.parametrize("kind", TEMPLATES)
def test_every_word_of_the_template_is_renamed(kind: str) -> None:
    texts = renamed(read_template(kind), f"my-{kind}", "red-dot")
    assert set(texts) >= {
        "pyproject.toml",
        "README.md",
        "benchmark.toml",
        "red_dot/__init__.py",
        "red_dot/py.typed",
        "tests/test_contract.py",
    }
    for text in (*texts, *texts.values()):
        assert f"my-{kind}" not in text
        assert f"my_{kind}" not in text


def test_the_code_is_clean_under_short_and_long_names(tmp_path: Path, registry: Registry) -> None:
    """By the rules of this project, but for what it allows in tests and in modules of stages."""
    for number, name in enumerate(("q", "q" * 36)):
        for kind in TEMPLATES:
            new_plugin(kind, name, tmp_path / f"{kind}-{number}", registry)
    ruff = [sys.executable, "-m", "ruff"]
    rules = [f"--config={ROOT / 'pyproject.toml'}", "--config=src=['*/*']", "--no-cache"]
    for command in (["check", "--ignore=INP001,TID253"], ["format", "--check"]):
        done = subprocess.run(
            [*ruff, *command, *rules, "."],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
