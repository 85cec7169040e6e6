"""Names that stay in the index until they are asked for."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests.unit.conftest import RaggedImages

from backbench.errors import StoreError
from backbench.images import ImageSet
from backbench.plugin import Split
from backbench.store.index import Names, write_index

PIXEL = np.zeros((1, 1, 3), np.uint8)
HARD = [
    'a"b',
    "back\\slash",
    "]",
    '"train": {"sources": [',
    "brücke/猫.png",
    "",
    ", ",
    "\\",
    "\n",
    ",",
    "]\n]",
]


def index(tmp_path: Path, train: list[str], val: list[str]) -> Path:
    path = tmp_path / "index.json"
    splits: dict[Split, ImageSet] = {
        "train": RaggedImages([PIXEL] * len(train), [0] * len(train)),
        "val": RaggedImages([PIXEL] * len(val), [1] * len(val)),
    }
    splits["train"].sources, splits["val"].sources = train, val
    write_index(path, HARD, splits)
    assert json.loads(path.read_text(encoding="utf-8")) == {
        "classes": HARD,
        "train": {"sources": train, "labels": [0] * len(train)},
        "val": {"sources": val, "labels": [1] * len(val)},
    }
    return path


@pytest.mark.parametrize("names", [[], ["one"], HARD, [f"train/{n:06d}" for n in range(500)]])
def test_names_are_those_of_the_index(tmp_path: Path, names: list[str]) -> None:
    path = index(tmp_path, names, HARD)
    for split, wanted in (("train", names), ("val", HARD)):
        found = Names(path, split)  # type: ignore[arg-type]
        assert len(found) == len(wanted)
        assert list(found) == wanted
        assert found[1:3] == tuple(wanted[1:3])
        if wanted:
            assert found[-1] == wanted[-1]
        with pytest.raises(IndexError):
            found[len(wanted)]


def test_what_is_no_index_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "index.json"
    with pytest.raises(StoreError, match="cannot be read"):
        Names(path, "train")
    path.write_text('{"classes": []}', encoding="utf-8")
    with pytest.raises(StoreError, match="no names of train"):
        Names(path, "train")
