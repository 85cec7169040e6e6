"""What of a plugin's options enters a key."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from backbench.plugin import ExcludeFromKey, Field, LocalPath, Options


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
