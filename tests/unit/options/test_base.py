"""What of a plugin's options enters a key."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from backbench.plugin import ExcludeDefaultFromKey, ExcludeFromKey, Field, LocalPath, Options


class Inner(Options):
    place: LocalPath = Field(Path("a"), description="a path")
    number: int = Field(1, description="a number")


class Outer(Options):
    inner: Inner = Field(Inner(), description="nested")
    place: LocalPath | None = Field(None, description="a path")
    quiet: Annotated[bool, ExcludeFromKey()] = Field(default=False, description="changes no number")
    share: float = Field(0.5, description="a number")


def test_paths_and_what_is_marked_stay_out_of_the_key_at_any_depth() -> None:
    plain = {"inner": {"number": 1}, "share": 0.5}
    assert Outer().identity() == plain
    options = Outer.model_validate({"inner": {"place": "/b"}, "place": "/c", "quiet": True})
    assert options.identity() == plain


class Later(Options):
    table: Annotated[dict[str, int], ExcludeDefaultFromKey()] = Field({}, description="a later one")
    number: Annotated[int, ExcludeDefaultFromKey()] = Field(2, description="a later one")


def test_an_option_that_came_later_is_in_the_key_where_it_is_used() -> None:
    assert Later().identity() == Later(number=2, table={}).identity() == {}
    assert Later(number=0, table={"a": 1}).identity() == {"number": 0, "table": {"a": 1}}


class Several(Options):
    places: tuple[LocalPath, ...] = Field((), description="paths")
    named: dict[str, LocalPath] = Field({}, description="paths by name")
    inner: tuple[Inner, ...] = Field((), description="nested")


def test_paths_in_lists_and_tables_stay_out_of_the_key_too() -> None:
    given = {"places": ["/b", "/c"], "named": {"x": "/d"}, "inner": [{"place": "/e"}]}
    options = Several.model_validate(given)
    expected = {"places": ["", ""], "named": {"x": ""}, "inner": [{"number": 1}]}
    assert options.identity() == expected
    assert {name: str(path) for name, path in options.files().items()} == {
        "places.0": "/b",
        "places.1": "/c",
        "named.x": "/d",
        "inner.0.place": "/e",
    }


class Seen(Options):
    reference: LocalPath = Field(Path("/a"), description="its content is in the key")
    pinned: LocalPath = Field(Path("/b"), description="the plugin hashes it")
    pinned_sha256: str | None = Field(None, description="its hash")
    cache: Annotated[LocalPath, ExcludeFromKey()] = Field(Path("/c"), description="no number")
    absent: LocalPath | None = Field(None, description="not given")


def test_files_are_those_whose_content_nothing_else_puts_into_the_key() -> None:
    assert {name: str(path) for name, path in Seen().files().items()} == {"reference": "/a"}
