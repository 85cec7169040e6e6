"""Lists of images: their form, and which images a fraction takes."""

import hashlib
import shutil
from collections import Counter
from decimal import Decimal

import pytest
from PIL import Image

from backbench.data.dataset_options import FileListOptions, ImageFolderOptions
from backbench.data.file_list import FileList
from backbench.data.folder import ImageFolder
from backbench.data.list_files import choose, format_line, parse_line, read_list, write_lists
from backbench.errors import DataError
from backbench.seeds import derive


@pytest.fixture
def root(make_folder):
    return make_folder(
        train={"big cat": 20, "dog": 7, "ant": 3}, val={"ant": 1, "big cat": 2, "dog": 2}
    )


def listing(root, **options):
    return ImageFolder(ImageFolderOptions(root=root, **options)).listing


@pytest.mark.parametrize(
    ("line", "row"),
    [
        ("/data/n01/x.JPEG 26", ("/data/n01/x.JPEG", 26)),
        ("/data/n01/x.JPEG 26 125 93 50 50", ("/data/n01/x.JPEG", 26)),
        ("my images/a 1 b.png\t3", ("my images/a 1 b.png", 3)),
        ("no_suffix 4 5", ("no_suffix", 4)),
        ("x.JPEG", None),
        ("x.JPEG 1 y.JPEG 0", None),
        ("x.JPEG ٣", None),
        ("", None),
    ],
)
def test_lines_are_taken_apart(line, row):
    assert parse_line(line) == row


@pytest.mark.parametrize("path", ["train/n01/x.JPEG", "my 2 dogs/a b 7.jpg", "é/ß.webp", "plain"])
def test_what_is_written_is_read_back(path):
    assert parse_line(format_line(path, 7)) == (path, 7)
    assert parse_line(format_line(path, 7, 1, 2, 50, 50)) == (path, 7)


@pytest.mark.parametrize(
    "path", [" a.png", "a.png 1 b.png", "two words", "a\nb.png", "a\rb.png", "a\udcff.png"]
)
def test_paths_that_no_list_can_hold_are_refused(path):
    with pytest.raises(DataError, match="no list can hold this path"):
        format_line(path, 0)


def test_whole_lists(root, tmp_path):
    out = tmp_path / "lists"
    train, val = write_lists(listing(root), out)
    assert [train.path.name, val.path.name] == ["train_ssl_1_filelist.txt", "val_ssl_filelist.txt"]
    lines = train.path.read_text().splitlines()
    assert lines[:4] == [f"train/ant/img 0{i}.png 0" for i in range(3)] + [
        "train/big cat/img 00.png 1"
    ]
    assert len(lines) == train.images == 30
    assert train.sha256 == hashlib.sha256(train.path.read_bytes()).hexdigest()
    assert Counter(read_list(val.path).labels) == {0: 1, 1: 2, 2: 2}


def test_lists_are_a_data_set_that_equals_the_folder(root, tmp_path):
    folder = ImageFolder(ImageFolderOptions(root=root))
    train, val = write_lists(folder.listing, tmp_path)
    lists = FileList(FileListOptions(train=train.path, val=val.path, root=root))
    assert lists.metadata() == folder.metadata()
    assert lists.fingerprint(str) == folder.fingerprint(str)


def test_absolute_lists_need_no_root(root, tmp_path, monkeypatch):
    monkeypatch.chdir(root.parent)
    train, val = write_lists(listing(root.name), tmp_path / "lists", absolute=True)
    assert read_list(val.path).lines[0].path == f"{root}/val/ant/img 00.png"
    data = FileList(FileListOptions(train=train.path, val=val.path))
    assert data.metadata().classes == ("ant", "big cat", "dog")
    assert data.fingerprint(str) == ImageFolder(ImageFolderOptions(root=root)).fingerprint(str)


def test_fractions_round_down_and_nest(root, tmp_path):
    fractions = [Decimal(text) for text in ("1", "0.5", "0.29", "0.01")]
    *lists, val = write_lists(listing(root), tmp_path, fractions)
    assert [one.path.name for one in lists[1:]] == [
        f"train_ssl_{part}_filelist.txt" for part in ("0.5", "0.29", "0.01")
    ]
    rows = [read_list(one.path) for one in lists]
    sizes = [[Counter(one.labels)[label] for label in range(3)] for one in rows]
    assert sizes == [[3, 20, 7], [1, 10, 3], [1, 5, 2], [1, 1, 1]]
    whole, half, less, least = ({line.given for line in one.lines} for one in rows)
    assert least < less < half < whole
    assert all(one.lines == sorted(one.lines, key=lambda line: line.given) for one in rows)
    assert val.images == 5


def test_a_choice_is_by_seed_class_and_name(root):
    data = listing(root)
    taken = [data.train.sources[i] for i in choose(data, Decimal("0.25"), seed=3)]
    names = [f"img {i:02d}.png" for i in range(20)]
    expected = sorted(names, key=lambda name: derive(3, "filelist", "big cat", name))[:5]
    assert [one for one in taken if "cat" in one] == [
        f"train/big cat/{n}" for n in sorted(expected)
    ]
    other = [data.train.sources[i] for i in choose(data, Decimal("0.25"), seed=4)]
    assert taken != other


def test_a_choice_ignores_place_splits_and_other_images(root, tmp_path):
    before = listing(root)
    taken = {before.train.sources[i] for i in choose(before, Decimal("0.5"), seed=0)}
    moved = tmp_path / "elsewhere"
    shutil.copytree(root, moved)
    (moved / "train").rename(moved / "learn")
    shutil.rmtree(moved / "learn" / "ant")
    shutil.rmtree(moved / "val" / "ant")
    gone = next(one for one in before.train.sources if "cat" in one and one not in taken)
    (moved / "learn" / gone.removeprefix("train/")).unlink()
    after = listing(moved, train="learn")
    again = {after.train.sources[i] for i in choose(after, Decimal("0.5"), seed=0)}
    kept = {one.replace("train/", "learn/") for one in taken if "ant" not in one}
    assert again < kept  # 9 of 19, not 10 of 20
    assert len(kept - again) == 1


def test_labels_rank_the_classes_that_are_taken(root, tmp_path):
    chosen = listing(root, classes=("dog", "big cat"))
    train, _ = write_lists(chosen, tmp_path)
    rows = read_list(train.path)
    assert {line.given.split("/")[1]: line.label for line in rows.lines} == {
        "big cat": 0,
        "dog": 1,
    }


def test_equal_lists_stay_and_others_are_refused(root, tmp_path):
    first = write_lists(listing(root), tmp_path)
    assert all(one.is_new for one in first)
    again = write_lists(listing(root), tmp_path)
    assert not any(one.is_new for one in again)
    assert [one.sha256 for one in again] == [one.sha256 for one in first]
    (root / "val" / "dog" / "img 01.png").unlink()
    with pytest.raises(DataError, match=r"other content(.|\n)*val_ssl_filelist\.txt"):
        write_lists(listing(root), tmp_path, [Decimal("0.5")])
    assert not (tmp_path / "train_ssl_0.5_filelist.txt").exists()


def test_nothing_is_written_where_a_name_cannot_stand_in_a_list(root, tmp_path):
    Image.new("RGB", (2, 2)).save(root / "val" / "dog" / "a.png 1 b.png")
    out = tmp_path / "lists"
    with pytest.raises(DataError, match=r"a\.png 1 b\.png.*rename the file"):
        write_lists(listing(root), out)
    assert not out.exists()
