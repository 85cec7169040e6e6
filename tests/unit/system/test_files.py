"""Files are written as a whole, hashed, and locked."""

from __future__ import annotations

import hashlib
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from backbench.errors import DataError
from backbench.system.files import (
    content_of,
    open_regular,
    owned_name,
    read_regular,
    replacing,
    sha256,
    write,
)
from backbench.system.locks import alone_in, locked

HOLD = """
import sys, time
from pathlib import Path
from backbench.system.locks import locked
with locked(Path(sys.argv[1]), RuntimeError()):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("content", ["täxt", b"\x00\xff"])
def test_a_file_is_replaced_as_a_whole(tmp_path: Path, content: str | bytes):
    path = tmp_path / "deep" / "file"
    write(path, "old")
    write(path, content)
    assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert [one.name for one in path.parent.iterdir()] == ["file"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~_umask()


def _umask() -> int:
    before = os.umask(0)
    os.umask(before)
    return before


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path):
    path = tmp_path / "file"
    write(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write(path, "\ud800")
    with pytest.raises(FileNotFoundError), replacing(path) as partial:
        partial.with_name("none").rename(partial)
    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_a_digest_is_that_of_the_bytes(tmp_path: Path):
    path = tmp_path / "file"
    path.write_bytes(b"abc" * 100_000)
    assert sha256(path) == sha256(str(path)) == hashlib.sha256(b"abc" * 100_000).hexdigest()
    with pytest.raises(FileNotFoundError):
        sha256(tmp_path / "none")


def test_a_lock_ends_with_its_process(tmp_path: Path):
    path = tmp_path / "deep" / "lock"
    other = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(ValueError, match="busy"), locked(path, ValueError("busy")):
            pass
    finally:
        other.kill()
        other.communicate()
    with locked(path, ValueError("busy")):
        pass


def test_one_process_at_a_time_in_a_folder(tmp_path: Path):
    folder = tmp_path / "deep"
    with (
        alone_in(folder),
        pytest.raises(DataError, match="another process is writing to it"),
        alone_in(folder),
    ):
        pass
    assert [one.name for one in folder.iterdir()] == []


def test_what_may_never_end_is_not_opened(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(tmp_path / "socket"))
        for name in (tmp_path / "pipe", tmp_path / "socket", "/dev/zero", "/dev/full", tmp_path):
            with pytest.raises(OSError, match=r"not a regular file|No such device|Is a directory"):
                open_regular(name)
            with pytest.raises(OSError, match=r"not a regular file|No such device|Is a directory"):
                read_regular(name, 99)
    (tmp_path / "long").write_bytes(bytes(100))
    with pytest.raises(OSError, match="100 bytes, and 99 at most are read"):
        open_regular(tmp_path / "long", 99)
    with pytest.raises(OSError, match="100 bytes, and 99 at most are read"):
        read_regular(tmp_path / "long", 99)
    assert read_regular(tmp_path / "long", 100) == bytes(100)
    with pytest.raises(OSError, match="not a regular file"):
        sha256("/dev/zero")


def test_what_others_are_writing_below_a_folder_stays(tmp_path: Path):
    init = owned_name().replace(f"-{os.getpid()}-", "-1-")  # a process that runs
    half = tmp_path / "store" / "records" / f".0.json.{init}.partial"
    half.parent.mkdir(parents=True)
    half.touch()
    with alone_in(tmp_path):
        assert half.exists()


def test_what_killed_writers_left_in_a_folder_goes(tmp_path: Path):
    half = tmp_path / "train" / "cat" / ".1.png.123.partial"
    half.parent.mkdir(parents=True)
    half.touch()
    (half.parent / "1.png").touch()
    with alone_in(tmp_path):
        assert [path.name for path in half.parent.iterdir()] == ["1.png"]


def test_the_content_of_a_folder_has_what_is_behind_its_links(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "folder", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    (folder / "linked").symlink_to(elsewhere)
    (folder / "up").symlink_to(tmp_path)  # leads nowhere
    (elsewhere / "a").write_text("one")
    (tmp_path / "beside").write_text("one")
    before = content_of(folder)
    (tmp_path / "beside").write_text("two")
    assert content_of(folder) == before
    (elsewhere / "a").write_text("two")
    assert content_of(folder) != before
