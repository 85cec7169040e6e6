"""Mistakes that many lines of a list share are said once, with their remedy."""

import os
import shutil
import unicodedata

import pytest
from PIL import Image

from backbench.data.dataset_options import FileListOptions, ImageFolderOptions
from backbench.data.file_list import FileList
from backbench.data.fingerprint import FileHashes
from backbench.data.folder import ImageFolder
from backbench.errors import DataError

LINES = [f"train/{name}/img {i:02d}.png {label}" for label, name in enumerate("ab") for i in (0, 1)]
VAL = ["val/a/img 00.png 0", "val/b/img 00.png 1"]


@pytest.fixture
def root(make_folder):
    return make_folder(root="it's here", train={"a": 2, "b": 2}, val={"a": 1, "b": 1})


def lists(folder, train=LINES, val=VAL, **options):
    for name, lines in (("train.txt", train), ("val.txt", val)):
        (folder / name).write_text("\n".join(lines), encoding="utf-8")
    return FileList(FileListOptions(train=folder / "train.txt", val=folder / "val.txt", **options))


def problems(dataset):
    with pytest.raises(DataError) as caught:
        dataset.metadata()
    return str(caught.value)


def test_absolute_paths_of_another_machine_are_one_problem_with_its_remedy(root):
    text = problems(lists(root, [f"/home/someone/x/{line}" for line in LINES], root=root))
    assert len(text.splitlines()) == 2
    assert "4 of 4 paths are absolute and begin with /home/someone/x/train, which is not" in text
    assert "`sed -i 's#^/home/someone/x/train#/your/folder#' '" in text


def test_backslashes_are_one_problem_with_its_remedy(root):
    text = problems(lists(root, [line.replace("/", "\\") for line in LINES]))
    assert len(text.splitlines()) == 2
    assert "train.txt: 4 of 4 paths have backslashes between folders; write /: `sed" in text
    assert "it'\"'\"'s here/train.txt'" in text


def test_a_wrong_root_is_one_problem(root):
    text = problems(lists(root, root=root / "train"))
    assert len(text.splitlines()) == 3
    assert f"4 of 4 paths are not below {root}/train; set root to the folder" in text


def test_another_unicode_form_is_one_problem(root):
    for split in ("train", "val"):
        (root / split / "a").rename(root / split / unicodedata.normalize("NFC", "é"))
    form = unicodedata.normalize("NFD", "é")
    text = problems(
        lists(root, [x.replace("/a/", f"/{form}/") for x in LINES], [VAL[1], "val/é/img 00.png 0"])
    )
    assert len(text.splitlines()) == 2
    assert "2 of 4 paths are written in another Unicode form" in text


def test_a_file_that_is_missing_alone_is_named_with_its_line(root):
    text = problems(lists(root, [*LINES, "train/a/gone.png 0"]))
    assert f"train.txt:5: no such file: {root}/train/a/gone.png" in text


def test_a_pipe_is_not_taken_for_an_image_nor_for_a_list(root):
    os.mkfifo(root / "p.png")
    assert "train.txt:5: not a regular file" in problems(lists(root, [*LINES, "p.png 0"]))
    os.mkfifo(root / "pipe.txt")
    dataset = FileList(FileListOptions(train=root / "pipe.txt", val=root / "val.txt"))
    assert "pipe.txt: cannot be read as UTF-8 text: not a regular file" in problems(dataset)


@pytest.mark.parametrize("where", ["train", "val"])
def test_one_image_with_two_labels_is_a_problem(root, where):
    more = ["./train/a/../a/img 00.png 1"]
    text = problems(lists(root, LINES + more * (where == "train"), VAL + more * (where == "val")))
    assert "img 00.png has label 1, and label 0 in" in text
    assert "train.txt:1" in text


def test_images_of_both_splits_are_counted(root):
    dataset = lists(root, val=LINES)
    (note,) = dataset.listing.notes
    assert "4 of 4 validation images are training images too" in note
    dataset.fingerprint(FileHashes(root / "hashes"))
    assert dataset.content_notes == ()


def test_lines_that_are_there_twice_are_counted(root):
    (note,) = lists(root, [*LINES, LINES[0]]).listing.notes
    assert "train.txt: 1 lines name an image that an earlier line names" in note


def test_images_that_a_folder_would_pass_over_are_read_and_counted(root):
    (root / "train" / "@eaDir").mkdir()
    shutil.copy(root / "train" / "a" / "img 00.png", root / "train" / "@eaDir" / "T.png")
    Image.new("RGB", (8, 6)).save(root / "odd", "PNG")
    dataset = lists(root, [*LINES, "train/@eaDir/T.png 0", "odd 1"])
    (note,) = dataset.listing.notes
    assert "are read: hidden and system folders 1 (" in note
    assert "no suffix 1 (" in note
    assert dataset.metadata().train == 6


def test_equal_content_in_both_splits_is_counted_and_named(root):
    shutil.copy(root / "train" / "b" / "img 00.png", root / "val" / "a" / "copy.png")
    dataset = ImageFolder(ImageFolderOptions(root=root))
    dataset.fingerprint(FileHashes(root / "hashes"))
    (note,) = dataset.content_notes
    assert "1 of 3 validation images have the content of a training image" in note
    assert "1 of them with another label (val/a/copy.png is train/b/img 00.png)" in note
