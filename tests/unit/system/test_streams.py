"""Terminals, pipes and files that do not take what the command writes, and Ctrl-C at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PREPARED = "from backbench.system.streams import prepare_streams; prepare_streams(); "


def python(code: str, shell: str = "", **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run code in a new process, with what a shell does to its streams."""
    return subprocess.run(
        ["sh", "-c", f'"$0" -c "$1" {shell}', sys.executable, code],
        env={**os.environ, **environment},
        capture_output=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("ascii", "o wren +- 1 >= X .. ?"),
        ("latin-1", "° wrén ± 1 >= X .. ?"),
        ("cp1252", "° wrén ± 1 >= X … ?"),
        ("utf-8", "° wrén ± 1 ≥ ✗ … ?"),
    ],
)
def test_a_sign_that_the_encoding_lacks_is_replaced(encoding: str, expected: str):
    signs = "'° wrén ± 1 ≥ ✗ … \\udce9'"
    code = f"{PREPARED} import sys; print({signs}); print({signs}, file=sys.stderr)"
    done = python(code, PYTHONIOENCODING=encoding)
    assert done.stdout == done.stderr == f"{expected}\n".encode(encoding)


@pytest.mark.parametrize(
    "write",
    [
        "print('x' * 300_000); print('y', file=sys.stderr)",
        "import rich.console; [rich.console.Console().print('x' * 70) for _ in range(200)]",
        "import click; click.echo('x' * 300_000); click.echo('y', err=True)",
    ],
    ids=["print", "rich", "click"],
)
def test_a_reader_that_has_gone_ends_nothing(write: str):
    code = f"{PREPARED} import sys; {write}; sys.stdout.flush(); sys.exit(7)"
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([sys.executable, "-c", code], stdout=writing, stderr=writing, check=False)
    os.close(writing)
    assert done.returncode == 7


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_behind_stdout_is_one_sentence():
    main = "import sys; from backbench.cli.main import main; sys.argv = ['', '--version']; main()"
    done = python(main, "> /dev/full")
    expected = b"backbench: standard output: cannot be written (No space left on device)\n"
    assert (done.returncode, done.stderr) == (1, expected)
    assert python(main, "> /dev/full 2> /dev/full").returncode == 1
    assert python(main, "2> /dev/full").returncode == 0


def test_closed_streams_are_opened_to_nothing(tmp_path: Path):
    code = PREPARED + (
        "import os, sys; print('x'); print('y', file=sys.stderr); "
        f"os.write(os.open({str(tmp_path / 'a')!r}, os.O_CREAT | os.O_WRONLY), b'whole')"
    )
    done = python(code, "<&- >&- 2>&-")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert (tmp_path / "a").read_bytes() == b"whole"


def test_ctrl_c_while_the_command_is_imported_is_quiet():
    code = """
import sys
class Finder:
    def find_spec(name, path, target=None):
        if name == "click":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Finder)
from backbench.cli.main import main
main()
"""
    done = python(code)
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


def test_nothing_is_imported_before_ctrl_c_is_heard():
    code = """
import sys
before = set(sys.modules)
import backbench.cli.main
print(*sorted(set(sys.modules) - before))
"""
    done = python(code)
    assert done.stdout.decode().split() == ["backbench", "backbench.cli", "backbench.cli.main"]


def test_what_is_printed_in_a_context_within_another_goes_to_stderr() -> None:
    code = (
        "import os; from backbench.system.streams import stdout_to_stderr\n"
        "for _ in range(2):\n"
        "    with stdout_to_stderr():\n"
        "        with stdout_to_stderr():\n"
        "            print('inner', flush=True)\n"
        "        os.write(1, b'outer ')\n"
        "    print('after')"
    )
    done = python(code)
    assert (done.stdout, done.stderr.split()) == (b"after\n" * 2, [b"inner", b"outer"] * 2)
