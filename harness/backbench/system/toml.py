"""Read TOML that a user has written."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, Final

from backbench.errors import ConfigError, Problem, UsageError
from backbench.system import files

#: Most characters of a TOML file; a benchmark has some thousand, and each may cost a kilobyte.
_MOST: Final = 1 << 20

#: A name of so many parts takes the parser time and memory by their square.
_MOST_PARTS: Final = 32

_PART: Final = r"""(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')"""
_LONG_NAME: Final = re.compile(
    rf"(?<![\w-]){_PART}(?:[ \t]*+\.[ \t]*+{_PART}){{{_MOST_PARTS}}}", re.ASCII
)


def read_toml(path: Path, what: str = "file") -> dict[str, Any]:
    """Read a TOML file, with or without a byte order mark."""
    return parse_toml(read_toml_text(path, what), str(path))


def read_toml_text(path: Path, what: str = "file") -> str:
    """Return the text of a TOML file; see :func:`read_toml`."""
    try:
        return files.read_text(path, _MOST)
    except FileNotFoundError:
        raise UsageError(f"{path}: there is no such {what}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read: {files.read_failure(error)}") from error


def parse_toml(text: str, source: str) -> dict[str, Any]:
    """Parse TOML; what would take the parser long is refused."""
    if len(text) > _MOST:
        reason = f"{len(text):,} characters, and {_MOST:,} at most are read"
        raise ConfigError(source, [Problem("", reason)])
    if _LONG_NAME.search(text):
        reason = f"a dotted name has more than {_MOST_PARTS} parts"
        raise ConfigError(source, [Problem("", reason)])
    try:
        return tomllib.loads(text)
    except RecursionError:
        reason = "its tables or arrays are nested too deeply"
    except ValueError as error:  # also an integer of thousands of digits
        reason = str(error)
    raise ConfigError(source, [Problem("", f"not valid TOML: {reason}")])
