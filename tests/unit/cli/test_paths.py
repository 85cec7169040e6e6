"""Home folders on the command line and in options."""

import click
import pytest
from click.testing import CliRunner
from pydantic import ValidationError

from backbench.cli.options.paths import UserPath
from backbench.data.dataset_options import FileListOptions, TorchvisionOptions


@click.command()
@click.option("--store", type=UserPath())
def command(store):
    click.echo(store)


def test_a_tilde_is_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert CliRunner().invoke(command, ["--store=~/s"]).stdout == f"{tmp_path}/s\n"
    assert CliRunner().invoke(command, ["--store=./~/s"]).stdout == "~/s\n"


def test_a_home_folder_that_is_not_there_is_one_sentence():
    done = CliRunner().invoke(command, ["--store=~no-such-user/s"])
    assert done.exit_code == 2
    assert "there is no home folder for '~no-such-user/s'" in done.stderr
    with pytest.raises(ValidationError, match="there is no home folder for '~no-such-user'"):
        FileListOptions(train="~no-such-user/t", val="v")


def test_a_default_below_an_unknown_home_is_one_sentence(monkeypatch):
    def unknown(_path):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("pathlib.Path.expanduser", unknown)
    with pytest.raises(ValidationError, match="there is no home folder for '~'; give a path"):
        TorchvisionOptions()
