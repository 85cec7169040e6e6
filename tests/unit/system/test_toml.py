"""One reader for all TOML that users write."""

import os

import pytest

from backbench.errors import ConfigError, UsageError
from backbench.system.toml import parse_toml, read_toml


def test_a_byte_order_mark_is_passed_over(tmp_path):
    file = tmp_path / "b.toml"
    file.write_bytes(b"\xef\xbb\xbfx = 1\r\n")
    assert read_toml(file) == {"x": 1}


@pytest.mark.parametrize("text", ["x = 1" + 5000 * "0", "x = " + 5000 * "[", "x = " + 5000 * "{a="])
def test_what_the_parser_gives_up_on_is_one_sentence(text):
    with pytest.raises(ConfigError, match="not valid TOML") as caught:
        parse_toml(text, "b.toml")
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize("text", [".".join("a" * 40) + " = 1", "['a' . \"b\"" + ".c" * 40 + "]"])
def test_a_name_of_many_parts_is_refused_before_it_is_parsed(text):
    with pytest.raises(ConfigError, match="more than 32 parts"):
        parse_toml(text, "b.toml")
    assert parse_toml(".".join("a" * 32) + " = 1", "b.toml")


def test_pipes_devices_folders_and_huge_files_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.toml")
    with (tmp_path / "huge.toml").open("wb") as file:
        file.truncate(1 << 40)
    (tmp_path / "latin.toml").write_bytes(b"x = '\xe9'")
    for path, reason in {
        tmp_path / "pipe.toml": "not a regular file",
        "/dev/zero": "not a regular file",
        tmp_path: "is a directory",
        tmp_path / "huge.toml": "at most are read",
        tmp_path / "latin.toml": "byte 5 is no UTF-8 text; save it as UTF-8",
        tmp_path / "gone.toml": "there is no such file",
    }.items():
        with pytest.raises(UsageError, match=reason):
            read_toml(type(tmp_path)(path))
