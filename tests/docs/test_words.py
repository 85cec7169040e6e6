"""Code and pages use the field's words, in American spelling, and short plain sentences."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLACES = ("harness", "plugins", "docs", "README.md", "CONTRIBUTING.md", "benchmarks.toml")
SUFFIXES = {".py", ".md", ".toml", ".j2", ".html", ".css", ".js"}

#: Words that we avoid, and what we say. Regular expressions, in any case.
BANNED = {
    r"pictures?": "image",
    r"data\s+sets?": "dataset",
    r"optimis\w+": "optimizer, optimize",
    r"\w*colour\w*": "color",
    r"grey\w*": "gray, grayscale",
    r"\w*centre[sd]?|centring": "center",
    r"\w*normalis\w+": "normalize",
    r"behaviour\w*": "behavior",
    r"neighbours?\w*": "neighbor",
    r"(?:initial|standard|serial|recogn|summar|general|random|minim|maxim|quant|real)is(?:e|ed|es|ing|ation)": "-ize",
    r"learnt": "learned, fitted",
    r"foreign": "external",
    r"stale\w*": "outdated",
    r"faults?": "problem, error",
    r"survival": "trigger visibility",
    r"facts": "metadata",
    r"beneath": "below",
    r"told": "report, return, state",
    r"shall": "must, will",
    r"whoever|nobody|somebody|anybody|everybody": "a sentence that needs no person",
    r"asked about": "query",
    r"falls? to": "the attack succeeds on",
    r"stands? (?:beside|beneath|below|under|above|in it)": "is next to, is below",
    r"lies? beside": "is next to",
}

#: Docstrings and entries that say nothing.
EMPTY = re.compile(r'(?:"""|^\s+\w+: )(?:It|They|Them|See there)\.(?:"""|\s*$)', re.MULTILINE)

#: Proper names that contain a banned word, with the reason.
ALLOWED = {
    "segmentation fault": "the name of the signal",
    "page faults": "the operating system's word",
    "faulthandler": "a module of Python",
}


@functools.cache
def texts() -> list[tuple[Path, str]]:
    """Return what is read, without the words that are allowed."""
    return [(path, cleaned(text)) for path, text in written()]


def written() -> Iterator[tuple[Path, str]]:
    for place in PLACES:
        root = ROOT / place
        for path in sorted(root.rglob("*")) if root.is_dir() else [root]:
            if path.suffix in SUFFIXES and "__pycache__" not in path.parts:
                yield path.relative_to(ROOT), path.read_text(encoding="utf-8")


def cleaned(text: str) -> str:
    for name in ALLOWED:
        text = re.sub(re.escape(name), "", text, flags=re.IGNORECASE)
    return text


def hits(pattern: re.Pattern[str]) -> list[str]:
    found = []
    for path, text in texts():
        for match in pattern.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            found.append(f"{path}:{line}: {match[0].strip()}")
    return found


@pytest.mark.parametrize("word", BANNED)
def test_a_word_is_not_used(word: str) -> None:
    found = hits(re.compile(rf"(?<![A-Za-z])(?:{word})(?![A-Za-z])", re.IGNORECASE))
    assert found == [], f"say {BANNED[word]}"


def test_a_position_or_a_device_is_no_place() -> None:
    assert hits(re.compile(r"\b(?:class Place|Place\(|PLACES?\b|places: |place: )")) == []


def test_no_docstring_is_empty() -> None:
    assert hits(EMPTY) == []


def test_a_docstring_begins_with_a_noun_or_a_verb() -> None:
    assert hits(re.compile(r'"""(?:What|Who|How|Where|Why|Whether|Which|Say|Tell)\b')) == []


def test_the_search_finds_what_it_should() -> None:
    pattern = re.compile(r"(?<![A-Za-z])(?:faults?)(?![A-Za-z])")
    assert pattern.search(cleaned("a fault of the file"))
    assert pattern.search(cleaned("name_faults"))
    assert not pattern.search(cleaned("default, faulthandler, a segmentation fault"))
    assert EMPTY.search("        module: It.\n")
    assert EMPTY.search('    """It."""')
    assert not EMPTY.search("        module: It is moved.\n")
