"""What stages read of other stages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.factories import record

from backbench.errors import DataError
from backbench.model import PluginUse, Stage, StageKind
from backbench.plugin.registry import load_registry
from backbench.stages.inputs import Inputs
from backbench.stages.task import Task
from backbench.store.store import Store

KEY = "d" * 32


def images(root: Path, gray: int) -> None:
    for split in ("train", "val"):
        for name in ("a", "b"):
            folder = root / split / name
            folder.mkdir(parents=True)
            for side in (9, 12):  # of two sizes: not kept in the store
                Image.new("RGB", (side, side), (gray, gray, gray)).save(folder / f"{side}.png")


def test_images_are_read_where_they_lie_now(tmp_path: Path) -> None:
    """A dataset keeps its key when it moves; what its old place holds now is another matter."""
    for name, gray in (("old", 255), ("new", 50)):
        images(tmp_path / name, gray)
    store = Store(tmp_path / "store")
    store.prepare()
    options = {"root": str(tmp_path / "old")}
    use = PluginUse("dataset", "image-folder", "backbench", 1, options, {})
    with store.writing(KEY) as folder:
        store.publish(folder, record(KEY, Stage(StageKind.DATASET, use, None)))

    def first(given: dict[str, dict[str, str]]) -> int:
        stage = Stage(StageKind.PRETRAIN, None, 0, inputs={"dataset": KEY}, given=given)
        task = Task(stage, store, tmp_path, load_registry(), "cpu", lambda *_: None)
        return int(np.asarray(Inputs(task).train.image(0)).max())

    assert first({"dataset": {"root": str(tmp_path / "new")}}) == 50
    assert first({}) == 255  # a stage of an executor that says nothing of it
    with pytest.raises(DataError, match="gone: no such folder"):
        first({"dataset": {"root": str(tmp_path / "gone")}})
