"""Images named in lists, in the published format and with more care."""

import pytest
from PIL import Image

from backbench.data.classes import class_list
from backbench.data.dataset_options import FileListOptions
from backbench.data.file_list import FileList
from backbench.errors import DataError


@pytest.fixture
def lists(tmp_path):
    """Make images and two lists: ``lists(train=[...], val=[...])``; ``{}`` is the folder."""
    for name in ("cats/a.png", "cats/b c.png", "dogs/a.png", "dogs/my 2 dogs.png", "odd"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 3)).save(path, format="PNG")

    def make(train=("cats/a.png 0", "dogs/a.png 1"), val=None, **options):
        for name, lines in (("train", train), ("val", train if val is None else val)):
            text = "\n".join(lines).replace("{}", str(tmp_path))
            (tmp_path / f"{name}.txt").write_text(text, encoding="utf-8")
        return FileList(
            FileListOptions(train=tmp_path / "train.txt", val=tmp_path / "val.txt", **options)
        )

    return make


def message(dataset):
    with pytest.raises(DataError) as caught:
        dataset.metadata()
    return str(caught.value)


@pytest.mark.parametrize(
    ("line", "source", "label"),
    [
        ("cats/a.png 1", "cats/a.png", 1),
        ("{}/cats/a.png 1", "cats/a.png", 1),
        ("cats/b c.png 1", "cats/b c.png", 1),
        ("  cats/a.png\t1  ", "cats/a.png", 1),
        ("cats/a.png 1 10 20 30 40", "cats/a.png", 1),
        ("cats/b c.png 1 10 20 30 40", "cats/b c.png", 1),
        ("cats/a.png 1 0.5 anything", "cats/a.png", 1),
        ("dogs/my 2 dogs.png 1", "dogs/my 2 dogs.png", 1),
        ("./dogs/../cats/a.png 1", "cats/a.png", 1),
        ("odd 1", "odd", 1),
        ("odd 1 2 3 4 5", "odd", 1),
    ],
)
def test_lines(lists, line, source, label):
    train = lists(["dogs/a.png 0", "", line, "   "]).load("train")
    assert train.sources == ["dogs/a.png", source]
    assert train.labels.tolist() == [0, label]


def test_absolute_lists_may_move_with_their_images(lists, tmp_path):
    lines = ("{}/cats/a.png 0", "{}/dogs/a.png 1")
    elsewhere = tmp_path / "lists"
    elsewhere.mkdir()
    here = lists(lines, root=elsewhere)
    assert here.load("train").sources == ["cats/a.png", "dogs/a.png"]
    before, metadata = here.fingerprint(_name), here.metadata()
    moved = tmp_path / "moved"
    for name in ("cats", "dogs"):
        (moved / name).mkdir(parents=True)
        (tmp_path / name / "a.png").rename(moved / name / "a.png")
    again = lists([line.replace("{}", str(moved)) for line in lines], root=elsewhere)
    assert again.fingerprint(_name) == before
    assert again.metadata() == metadata


def _name(path):
    return path.rpartition("/")[2]


def test_order_is_the_lists_order(lists):
    lines = ["dogs/a.png 1", "cats/a.png 0"]
    data = lists(lines)
    assert data.load("train").labels.tolist() == [1, 0]
    assert data.metadata().classes == ("cats", "dogs")
    assert data.fingerprint(str) != lists(lines[::-1]).fingerprint(str)


def test_names_come_from_folders_or_labels_or_a_file(lists, tmp_path):
    assert lists().metadata().classes == ("cats", "dogs")
    assert lists(["cats/a.png 0", "cats/b c.png 1"]).metadata().classes == ("0", "1")
    assert lists(["cats/a.png 0", "dogs/a.png 0", "odd 1"]).metadata().classes == ("0", "1")
    names = tmp_path / "names.txt"
    names.write_text("feline\n\n canine \n")
    assert lists(classes=names).metadata().classes == ("feline", "canine")
    text = message(lists(classes=tmp_path / "image"))
    assert "image: no such file; it should hold a line an image or class (class lists that" in text
    names.write_text("cat\ncat\n")
    assert "duplicate class names: cat" in message(lists(classes=names))
    names.write_text("\n")
    assert "no class name" in message(lists(classes=names))


def test_a_shipped_list_names_the_labels_of_a_published_list(tmp_path):
    ids = sorted(class_list("imagenet100"))
    for wnid in ids:
        (tmp_path / wnid).mkdir()
        Image.new("RGB", (4, 3)).save(tmp_path / wnid / f"{wnid}_0.JPEG")
    lines = [f"{tmp_path}/{wnid}/{wnid}_0.JPEG {label}" for label, wnid in enumerate(ids)]
    lines[26] += " 125 93 50 50"
    (tmp_path / "list.txt").write_text("\n".join(lines) + "\n")

    def data(**options):
        file = tmp_path / "list.txt"
        return FileList(FileListOptions(train=file, val=file, **options))

    named, unnamed = data(classes="imagenet100"), data()
    assert named.metadata().classes[26] == "n02106550"
    assert named.metadata() == unnamed.metadata()
    assert named.fingerprint(str) == unnamed.fingerprint(str)
    again = FileListOptions.model_validate(named.options.model_dump(mode="json"))
    assert FileList(again).metadata() == named.metadata()

    published = tmp_path / "imagenet100_classes.txt"
    published.write_text("\n".join(class_list("imagenet100")))
    text = message(data(classes=published))
    assert "label 0 is called 'n02869837', but its images lie in the folder 'n01558993'" in text
    assert "(and 99 more such labels); give the classes in the order of the labels" in text

    (tmp_path / "list.txt").write_text("\n".join(lines[:99]) + "\n")
    assert "no image has label 99" in message(data(classes="imagenet100"))


def test_root_holds_for_relative_paths(lists, tmp_path):
    data = lists(["a.png 0", "b c.png 1"], root=tmp_path / "cats")
    assert data.load("train").sources == ["a.png", "b c.png"]
    assert data.metadata().size == (3, 4)


def test_all_problems_with_their_lines(lists, tmp_path):
    text = message(
        lists(
            train=["cats/a.png 0", "cats/gone.png 0", "cats/a.png", "dogs/a.png two", ""],
            val=["cats/a.png 3", "cats/b c.png -1"],
        )
    )
    for part in (
        f"train.txt:2: no such file: {tmp_path}/cats/gone.png",
        "train.txt:3: not `path label`, there is no label: 'cats/a.png'",
        "train.txt:4: not `path label`, the label is no whole number: 'dogs/a.png two'",
        "val.txt:2: labels count from 0: label -1",
        "val.txt:1: an image with two labels: cats/a.png has label 3, and label 0 in",
    ):
        assert part in text
    assert len(text.splitlines()) == 6


def test_labels_that_count_from_one_are_named(lists):
    assert "no image has label 0" in message(lists(["cats/a.png 1", "dogs/a.png 2"]))


@pytest.mark.parametrize("label", ["3000000000", "9" * 18, "9" * 5000])
def test_a_huge_label_is_named_and_takes_no_memory(lists, label):
    text = message(lists(train=["cats/a.png 0", f"dogs/a.png {label}"]))
    assert "no image has label 1, 2, 3" in text or "train.txt:2: not `path label`, " in text


def test_missing_and_empty_and_binary_lists(lists, tmp_path):
    data = lists()
    (tmp_path / "val.txt").unlink()
    assert "val.txt: no such file" in message(data)
    (tmp_path / "val.txt").write_bytes(b"\xff\xfe\x00")
    assert "cannot be read as text: byte 0 is no UTF-8 text, it looks like UTF-16" in message(data)
    assert "there is no line in it" in message(lists(train=[""]))


def test_windows_lists(lists, tmp_path):
    data = lists()
    (tmp_path / "train.txt").write_bytes(b"\xef\xbb\xbfcats/a.png 0\r\ndogs/a.png 1\r\n")
    assert data.load("train").labels.tolist() == [0, 1]
