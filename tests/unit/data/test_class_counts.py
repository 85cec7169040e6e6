"""Which classes a path holds."""

import pytest

from backbench.data.class_counts import look_at
from backbench.data.classes import class_list
from backbench.errors import DataError


def test_a_folder_with_splits(make_folder):
    root = make_folder(train={"ant": 3, "cat": 2, "dog": 1}, val={"cat": 1, "dog": 0})
    found = look_at(str(root))
    assert (found.kind, found.classes) == ("folder", ("ant", "cat", "dog"))
    assert found.splits == {"train": (3, 2, 1), "val": (1, 0)}
    assert found.problems == ("val lacks 1 of the classes: ant",)
    (root / "train" / "cat" / "broken.png").write_bytes(b"no image is opened")
    assert look_at(str(root / "train")).splits == {"images": (3, 3, 1)}


def test_a_list_of_images(tmp_path):
    file = tmp_path / "list.txt"
    file.write_text("/gone/b c/1.png 1\n\n/gone/ant/1.png 0 1 2 3 4\n/gone/ant/2.png 0\n")
    found = look_at(str(file))
    assert (found.kind, found.classes, found.problems) == ("list of images", ("ant", "b c"), ())
    assert found.splits == {"images": (2, 1)}
    file.write_text("x/1.png 1\ny/1.png 0\n")
    assert look_at(str(file)).problems == ("its labels are not the ranks of the ids",)
    file.write_text("x/1.png 1\nx/1.png 0\n")
    assert look_at(str(file)).classes is None
    file.write_text("x/1.png 1\nx/1.png\n")
    with pytest.raises(DataError, match=r"list\.txt:2: not `path label`"):
        look_at(str(file))


def test_a_list_of_classes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ids = class_list("imagenet100")
    assert look_at("imagenet100").classes == tuple(sorted(ids))
    (tmp_path / "own.txt").write_text("\n".join(ids))
    assert look_at("own.txt") == look_at("imagenet100")
    (tmp_path / "imagenet100").write_text("n01\nn02\n")
    assert look_at("imagenet100").classes == ("n01", "n02")


def test_what_holds_no_classes(tmp_path):
    with pytest.raises(DataError, match="no class folder in it"):
        look_at(str(tmp_path))
    with pytest.raises(DataError, match="no such file"):
        look_at(str(tmp_path / "nothing"))
