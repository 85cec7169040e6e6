"""Paths on the command line and in options: home folders, and what is no file or folder."""

import os

import click
import pytest
from click.testing import CliRunner
from pydantic import ValidationError

from backbench.cli.options.paths import UserPath
from backbench.data.dataset_options import FileListOptions, TorchvisionOptions

MATRIX = """
[[matrix]]
datasets = "embedded"
methods = "x"
evaluators = "knn"

"""


@click.command()
@click.option("--store", type=UserPath())
def command(store):
    click.echo(store)


def test_a_tilde_is_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert CliRunner().invoke(command, ["--store=~/s"]).stdout == f"{tmp_path}/s\n"
    assert CliRunner().invoke(command, ["--store=./~/s"]).stdout == "~/s\n"


def test_an_empty_path_is_refused_and_not_taken_for_the_current_folder():
    for value in ("", "--store="):
        done = CliRunner().invoke(command, ["--store", ""] if not value else [value])
        assert done.exit_code == 2
        assert "the path is empty; write ./ for this folder" in done.stderr


def test_a_home_folder_that_is_not_there_is_one_sentence():
    done = CliRunner().invoke(command, ["--store=~no-such-user/s"])
    assert done.exit_code == 2
    assert "there is no home folder for '~no-such-user/s'" in done.stderr
    with pytest.raises(ValidationError, match="there is no home folder for '~no-such-user'"):
        FileListOptions(train="~no-such-user/t", val="v")


@pytest.mark.parametrize(
    "table", ['[encoders]\nzoo = "~no-such-user/z"', '[encoders.x]\nweights = "~no-such-user/w"']
)
def test_a_home_folder_of_encoders_that_is_not_there_is_one_problem(bench, tmp_path, table):
    text = MATRIX + table
    (tmp_path / "b.toml").write_text(text)
    done = bench("check", "b.toml")
    assert (done.code, "there is no home folder for '~no-such-user'" in done.err) == (2, True)


def test_a_cache_below_a_home_folder_that_is_not_there_is_one_sentence(bench, monkeypatch):
    monkeypatch.setenv("BACKBENCH_CACHE", "~no-such-user/cache")
    done = bench("store", "sync", "memory://x", "y")
    assert (done.code, "there is no home folder for '~no-such-user'" in done.err) == (2, True)


def test_a_default_below_an_unknown_home_is_one_sentence(monkeypatch):
    def unknown(_path):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("pathlib.Path.expanduser", unknown)
    with pytest.raises(ValidationError, match="there is no home folder for '~'; give a path"):
        TorchvisionOptions()


#: Commands, with @ for the path, and the wrong paths that are right there.
COMMANDS = {
    "check @": "",
    "claims @": "",
    "plan @": "",
    "run @": "",
    "show @": "",
    "verify @": "",
    "export @": "",
    "compare method=a method=b @": "",
    "evaluate @ --weights benchmarks.toml": "",
    "evaluate --weights @": "",
    "poison @ --out o": "",
    "poison benchmarks.toml --attack targeted --out @": "missing folder",
    "import @": "",
    "export --out @": "",
    "plan --store @": "missing folder",
    "show --store @": "",
    "verify --store @": "",
    "reproduce saha2022 --data @ --plan": "",
    "reproduce saha2022 --scale embedded --triggers @ --plan": "",
    "reproduce saha2022 --scale embedded --write @": "missing",
    "protocol show @": "",
    "data filelist --root @ --out o": "",
    "data filelist --root . --out @": "",
    "data filelist --root . --out o --classes @": "",
    "data fingerprint @": "",
    "data imagenet100 --imagenet @ --out o": "",
    "data imagenet100 --imagenet . --out @": "",
    "data imagenet100 --imagenet . --out o --classes @": "",
}


@pytest.fixture
def wrong(tmp_path):
    """Return a path of each kind that a command may be given by mistake."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty").touch()
    (tmp_path / "binary").write_bytes(bytes(range(256)))
    (tmp_path / "nowhere").symlink_to("gone")
    (tmp_path / "circle").symlink_to("circle")
    os.mkfifo(tmp_path / "pipe")
    names = ("folder", "empty", "binary", "nowhere", "circle", "pipe", "missing", "empty/below")
    return [*names, "n" * 300, "/dev/zero"]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_wrong_path_is_one_sentence_and_exit_code_2(bench, tiny_file, wrong, command):
    assert tiny_file.is_file()
    before = sorted(tiny_file.parent.iterdir())
    for path in wrong:
        if path in COMMANDS[command].split():
            continue
        done = bench(*(path if one == "@" else one for one in command.split()))
        assert done.code == 2, (path, done)
        sentence = done.err.splitlines()
        assert 0 < len(sentence) <= 4, (path, done)
        assert sorted(tiny_file.parent.iterdir()) == before
