"""Several writers on a file system without locks, which shows new files late to other machines."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import IO

from tests.unit.store.writer import torn

from backbench.store.store import Store

ROOT = Path(__file__).parents[3]

#: Stages, which each of four writers publishes: two of them begin in the middle.
KEYS = [f"{number:032x}" for number in range(200)]
WRITERS = {"a": 0, "b": 0, "c": 100, "d": 100}


class Writer:
    """A process that publishes what it is told."""

    def __init__(self, root: Path, author: str, first: int) -> None:
        command = [sys.executable, "-m", "tests.unit.store.writer", str(root), author]
        self.keys = KEYS[first:] + KEYS[:first]
        self.kept: dict[str, str] = {}
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def say(self, line: str) -> None:
        pipe: IO[str] | None = self.process.stdin
        assert pipe is not None
        pipe.write(f"{line}\n")

    def hear(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()


def test_four_writers_lose_and_tear_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    store.prepare()
    writers = [Writer(store.root, author, first) for author, first in WRITERS.items()]
    assert [one.hear() for one in writers] == ["ready"] * 4
    for turn in range(len(KEYS)):
        for one in writers:
            one.say(one.keys[turn])
        if turn % 4 == 0:  # no reader sees half a stage meanwhile
            assert not [one.keys[turn] for one in writers if torn(store, one.keys[turn])]
        for one in writers:
            one.kept[one.keys[turn]] = one.hear()
    for one in writers:
        one.process.communicate()
    assert [one.process.returncode for one in writers] == [0] * 4
    assert store.done() == set(KEYS)
    for key in KEYS:
        assert not torn(store, key)
        (author,) = {one.kept[key] for one in writers}  # all of them report the same
        record = store.record(key)
        assert record is not None
        assert record.provenance["author"] == author
    assert len({one.kept[key] for one in writers for key in KEYS}) > 1
    assert list((store.root / "tmp").iterdir()) == []
    assert not list(store.root.rglob(".*"))
