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


@pytest.mark.parametrize(
    ("form", "cause"),
    [
        ("{path},{label}", "something else than a space is between them"),
        ('"{path}";"{label}"', "something else than a space is between them"),
        ("{label} {path}", "the label comes first: write the path first"),
        ("{label},{path}", "the label comes first: write the path first"),
        ("{path}", "there is no label"),
        ("{path} cat", "the label is no whole number"),
        ("{path} {label}.0", "the label is no whole number"),
        ("# {path}", "but a comment: remove such lines"),
        ("{path}, {label}", "end with a comma or semicolon"),
        ('"{path}" {label}', "are in quotation marks; remove these"),
        ("~/{path} {label}", "begin with ~, $, a drive or an address"),
        ("https://x.org/{path} {label}", "begin with ~, $, a drive or an address"),
        ("#{path} {label}", "begin with #: lists have no comments"),
        ("{path}.jpeg {label}", "end otherwise than the files' names, as in 0.png"),
    ],
)
def test_another_form_of_list_is_one_problem_with_its_remedy(tmp_path, form, cause):
    lines = []
    for number in range(5):
        (tmp_path / f"{number}.png").touch()
        lines.append(form.format(path=f"{number}.png", label=number % 2).replace(".png.", "."))
    text = problems(lists(tmp_path, lines, ["0.png 0", "1.png 1"]))
    assert len(text.splitlines()) == 2
    assert cause in text
    assert "train.txt: 5 of 5 " in text
    assert "(line 1: " in text


def test_upper_and_lower_case_is_one_problem(root):
    text = problems(lists(root, [line.replace("train/a/img", "Train/A/IMG") for line in LINES]))
    assert "2 of 4 paths differ from the files' names in upper and lower case, as in img" in text


def test_many_missing_files_are_one_problem(root):
    text = problems(lists(root, [*LINES, *(f"train/a/x{i}.png 0" for i in range(30))]))
    assert len(text.splitlines()) == 2
    assert f"30 of 34 lines: no such file (line 5: {root}/train/a/x0.png)" in text


def test_two_folders_of_another_machine_are_named_each(root):
    lines = [f"/home/{'ab'[i // 2]}/{line}" for i, line in enumerate(LINES)]
    text = problems(lists(root, lines))
    for part in ("/home/a/train/a, which is not here", "/home/b/train/b, which is not here"):
        assert f"2 of 4 paths are absolute and begin with {part}" in text


def test_lines_with_several_images_or_further_words_lose_nothing(root):
    text = problems(lists(root, ["\u2028".join(LINES)]))
    assert "train.txt:1: not `path label`, it has several images" in text
    (note,) = lists(root, [f"{line} # words" for line in LINES]).listing.notes
    assert "4 lines go on after the label with what is no number, which is passed over" in note
    assert lists(root, [f"{line} 10 20.5 30 40" for line in LINES]).listing.notes == ()


def test_a_validation_list_in_another_order_of_classes_is_refused(root):
    text = problems(lists(root, val=["val/a/img 00.png 1", "val/b/img 00.png 0"]))
    assert "val.txt:1: a folder with two labels: val/a/img 00.png has label 1, its folder" in text


def test_a_list_that_is_no_text_is_named_with_the_remedy(root):
    dataset = lists(root)
    for content, reason in (
        ("a 0\n".encode("utf-16"), "byte 0 is no UTF-8 text, it looks like UTF-16; save it as"),
        ("é 0\n".encode("latin-1"), "byte 0 is no UTF-8 text; save it as UTF-8"),
        ("a 0\n".encode("utf-16-le"), "holds NUL characters, as UTF-16 does; save it as UTF-8"),
    ):
        (root / "train.txt").write_bytes(content)
        assert reason in problems(dataset)


def test_a_line_of_a_megabyte_is_not_printed_whole(root):
    assert len(problems(lists(root, ["x" * 1_000_000 + " 0"]))) < 10_000


def test_a_file_that_is_missing_alone_is_named_with_its_line(root):
    text = problems(lists(root, [*LINES, "train/a/gone.png 0"]))
    assert f"train.txt:5: no such file: {root}/train/a/gone.png" in text


def test_a_pipe_is_not_taken_for_an_image_nor_for_a_list(root):
    os.mkfifo(root / "p.png")
    assert "train.txt:5: not a regular file" in problems(lists(root, [*LINES, "p.png 0"]))
    os.mkfifo(root / "pipe.txt")
    dataset = FileList(FileListOptions(train=root / "pipe.txt", val=root / "val.txt"))
    assert "pipe.txt: cannot be read as text: not a regular file" in problems(dataset)


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


def test_equal_content_within_a_split_is_counted_and_two_labels_are_named(root):
    shutil.copy(root / "train" / "a" / "img 01.png", root / "train" / "a" / "img 01 (1).png")
    shutil.copy(root / "train" / "a" / "img 00.png", root / "train" / "b" / "wrong.png")
    dataset = ImageFolder(ImageFolderOptions(root=root))
    dataset.fingerprint(FileHashes(root / "hashes"))
    (note,) = dataset.content_notes
    assert "2 of 6 training images have the content of an earlier one" in note
    assert "1 of them with another label (train/b/wrong.png is train/a/img 00.png)" in note


def test_one_hot_labels_are_refused(root):
    rows = [f"{line[:-1]}{'1 0 0' if line.endswith('0') else '0 1 0'}" for line in LINES]
    assert "looks like a one-hot label; write the number" in problems(lists(root, rows))
    boxes = [f"{line} 0 0 1 1" for line in LINES]
    assert lists(root, boxes).listing.train.labels.tolist() == [0, 0, 1, 1]
