"""A folder a class."""

import shutil

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from backbench.data.classes import class_list
from backbench.data.dataset_options import ImageFolderOptions
from backbench.data.folder import ImageFolder
from backbench.errors import DataError
from backbench.images import ArrayImages


def folder(root, **options):
    return ImageFolder(ImageFolderOptions(root=root, **options))


def message(dataset):
    with pytest.raises(DataError) as caught:
        dataset.metadata()
    return str(caught.value)


def no_hash(path):
    return "0"


def test_classes_are_ranked_by_name_and_images_sorted(make_folder):
    data = folder(make_folder(train={"dog": 2, "big cat": 3}, val={"big cat": 1, "dog": 2}))
    metadata = data.metadata()
    assert metadata.classes == ("big cat", "dog")
    assert (metadata.train, metadata.val, metadata.size) == (5, 3, (6, 8))
    assert metadata.train_per_class == (3, 2)
    train = data.load("train")
    assert isinstance(train, ArrayImages)
    assert train.labels.tolist() == [0, 0, 0, 1, 1]
    assert train.labels.dtype == np.int64
    assert train.sources[3] == "train/dog/img 00.png"
    assert train.pixels[:, 0, 0].tolist() == [[0, i, 0] for i in range(3)] + [
        [10, i, 0] for i in range(2)
    ]


def test_nested_folders_count_and_hidden_or_other_files_do_not(make_folder):
    root = make_folder(train={"cat": 1}, val={"cat": 1})
    cat = root / "train" / "cat"
    (cat / "indoors").mkdir()
    shutil.copy(cat / "img 00.png", cat / "indoors" / "b.PNG")
    shutil.copy(cat / "img 00.png", cat / ".hidden.png")
    (cat / ".thumbnails").mkdir()
    shutil.copy(cat / "img 00.png", cat / ".thumbnails" / "t.png")
    (cat / "notes.txt").write_text("notes")
    (root / "train" / ".git").mkdir()
    (root / "train" / "README.md").touch()
    sources = folder(root).load("train").sources
    assert sources == ["train/cat/img 00.png", "train/cat/indoors/b.PNG"]


def test_splits_have_any_name(make_folder):
    root = make_folder(train={"cat": 1}, test={"cat": 2})
    assert folder(root, val="test").metadata().val == 2
    assert "it has test, train" in message(folder(root))


def test_limits_take_evenly_spaced_images(make_folder):
    root = make_folder(train={"cat": 10, "dog": 2}, val={"cat": 4, "dog": 4})
    data = folder(root, train_per_class=3, val_per_class=1)
    assert data.metadata().train_per_class == (3, 2)
    assert [s[-6:-4] for s in data.load("train").sources] == ["00", "03", "06", "00", "01"]
    assert len(data.load("val")) == 2


def test_all_problems_at_once(make_folder):
    root = make_folder(train={"cat": 1, "cow": 1, "pig": 0}, val={"cat": 0, "dgo": 1, "pig": 1})
    shutil.copy(root / "train" / "cat" / "img 00.png", root / "train" / "loose.png")
    text = message(folder(root))
    for part in (
        "train: 1 images lie outside the class folders",
        "train/pig: there is no image in it",
        "val/cat: there is no image in it",
        "class 'cow' is in train and not in val",
        "class 'dgo' is in val and not in train",
    ):
        assert part in text
    assert len(text.splitlines()) == 6


def test_some_classes_of_a_whole_tree(make_folder):
    splits = {"train": {"ant": 2, "cat": 3, "dog": 1}, "val": {"ant": 1, "cat": 1, "dog": 2}}
    root = make_folder(**splits)
    (root / "train" / "only here").mkdir()
    part = folder(root, classes=["dog", "ant"])
    assert part.metadata().classes == ("ant", "dog")
    assert part.load("train").sources[2] == "train/dog/img 00.png"
    assert part.load("train").labels.tolist() == [0, 0, 1]
    assert part.metadata().val == 3
    shutil.rmtree(root / "train" / "only here")
    for split in ("train", "val"):
        shutil.rmtree(root / split / "cat")
    assert part.fingerprint(no_hash) == folder(root).fingerprint(no_hash)
    assert part.options.identity() == folder(root).options.identity()


def test_one_folder_is_not_both_splits():
    with pytest.raises(ValidationError, match="is the training folder too"):
        ImageFolderOptions(root="x", train="both", val="both")


def test_all_missing_classes_are_named(make_folder):
    root = make_folder(train={"ant": 1, "cat": 1}, val={"cat": 1, "dog": 1})
    text = message(folder(root, classes=["dog", "cat", "ant", "bee"]))
    assert "train: there is no folder for 2 of the 4 classes: bee, dog" in text
    assert "val: there is no folder for 2 of the 4 classes: ant, bee" in text
    assert len(text.splitlines()) == 3
    text = message(folder(root, classes="imagenet100"))
    assert all(text.count(name) == 2 for name in class_list("imagenet100"))


@pytest.mark.parametrize(
    ("classes", "problem"),
    [
        ("imagnet100", "no class list is called 'imagnet100' .there are: imagenet100"),
        ([], "at least one class"),
        (["cat", "cat"], "each once"),
    ],
)
def test_classes_that_cannot_be_are_refused(classes, problem):
    with pytest.raises(ValidationError, match=problem):
        ImageFolderOptions(root="x", classes=classes)


def test_missing_root_and_empty_splits(tmp_path):
    assert "no such folder; set root" in message(folder(tmp_path / "nowhere"))
    (tmp_path / "train").mkdir()
    assert "no folder 'val' in it (it has train)" in message(folder(tmp_path))
    (tmp_path / "val").mkdir()
    assert "there is no class folder in it" in message(folder(tmp_path))


def test_home_and_relative_paths(make_folder, monkeypatch):
    root = make_folder(train={"cat": 1}, val={"cat": 1})
    monkeypatch.setenv("HOME", str(root.parent))
    monkeypatch.chdir(root.parent)
    whole = folder(root)
    for short in ("~/my images", "my images"):
        other = folder(short)
        assert other.metadata() == whole.metadata()
        assert other.fingerprint(no_hash) == whole.fingerprint(no_hash)
        assert other.load("val").sources == whole.load("val").sources


def test_photographs_of_many_sizes(make_folder):
    root = make_folder(train={"cat": 2}, val={"cat": 2})
    for split in ("train", "val"):
        Image.new("RGB", (40, 30)).save(root / split / "cat" / "z.jpg")
    data = folder(root)
    assert data.metadata().size is None
    train = data.load("train")
    assert train.pixels is None
    assert train.image(2).shape == (30, 40, 3)
    assert data.load("val").pixels.shape == (3, 224, 224, 3)
    assert folder(root, val_size=16).load("val").pixels.shape == (3, 16, 16, 3)
    square = folder(root, resize=12)
    assert square.metadata().size == (12, 12)
    assert square.load("train").pixels.shape == (3, 12, 12, 3)
    assert square.load("val").pixels.shape == (3, 12, 12, 3)
    assert folder(root, resize=12, val_size=8).metadata().size is None


def test_unreadable_images_are_named_with_their_split(make_folder):
    root = make_folder(train={"cat": 3}, val={"cat": 1})
    (root / "train" / "cat" / "img 01.png").write_bytes(b"")
    data = folder(root)
    assert data.metadata().train == 3
    with pytest.raises(
        DataError, match=r"(?s)train split: 1 of 3 .*img 01\.png: the file is empty"
    ):
        data.load("train")
    assert len(data.load("val")) == 1


def test_fingerprint_moves_with_what_is_loaded_only(make_folder):
    splits = {"train": {"cat": 4}, "val": {"cat": 2}}
    one, two = (make_folder(root, **splits) for root in ("one", "two"))
    prints = [
        folder(root, **options).fingerprint(no_hash)
        for root, options in [
            (one, {}),
            (two, {}),
            (one, {"train_per_class": 4}),
            (one, {"train_per_class": 2}),
            (one, {"resize": 8}),
            (one, {"val_size": 8}),
        ]
    ]
    assert prints[0] == prints[1] == prints[2]
    assert len(set(prints)) == 4


def test_many_classes_of_one_split_are_one_problem(make_folder):
    names = [f"c{number:02d}" for number in range(30)]
    root = make_folder(train=dict.fromkeys(names, 1), val={"c00": 1})
    text = message(folder(root))
    assert len(text.splitlines()) == 2
    assert "29 classes are in train and not in val: c01, c02, c03, c04, c05 and 24 more" in text
    root = make_folder(root="empty", train=dict.fromkeys(names, 0), val=dict.fromkeys(names, 1))
    text = message(folder(root))
    assert len(text.splitlines()) == 2
    assert "train/{c00, c01, c02, c03, c04 and 25 more}: there is no image in it" in text


@pytest.mark.parametrize("twin", ["Cat", "cat ", "ＣＡＴ", "e\u0301"])
def test_classes_that_differ_in_form_only_are_one_problem(make_folder, twin):
    name = {"e\u0301": "\u00e9", "ＣＡＴ": "ｃａｔ"}.get(twin, "cat")
    text = message(folder(make_folder(train={name: 1, "dog": 1}, val={twin: 1, "dog": 1})))
    assert len(text.splitlines()) == 2
    assert "1 classes differ between train and val only in upper and lower case, blanks or" in text
    assert f"({name!a}, {twin!a})" in text


def test_a_validation_folder_that_is_not_sorted_is_one_problem(make_folder):
    root = make_folder(train={"cat": 2, "dog": 2}, val={})
    (root / "val").mkdir()
    for number in range(3):
        shutil.copy(root / "train" / "cat" / "img 00.png", root / "val" / f"{number}.png")
    text = message(folder(root))
    assert len(text.splitlines()) == 2
    assert "val: its 3 images are not sorted by class; sort them into folders" in text


def test_one_class_is_said(make_folder):
    (note,) = folder(make_folder(train={"cat": 2}, val={"cat": 1})).listing.notes
    assert note == "all images are of class 'cat': every accuracy is 1"


def test_names_that_are_too_long_are_no_folders(tmp_path):
    assert "no such folder" in message(folder(tmp_path / ("n" * 400)))
    assert "no folder 'nnn" in message(folder(tmp_path, train="n" * 400))


def test_the_smallest_images_of_each_class_are_known_where_sizes_differ(make_folder):
    root = make_folder(train={"cat": 3, "dog": 2}, val={"cat": 1, "dog": 1})
    assert folder(root).metadata().smallest == ()  # all share one
    for name, size in (("cat/img 01", (20, 3)), ("cat/img 02", (4, 30)), ("dog/img 01", (50, 60))):
        Image.new("RGB", size[::-1]).save(root / "train" / f"{name}.png")
    assert folder(root).metadata().smallest == ((4, 3), (6, 8))
    # an attack meets the files' images, not the smaller ones that are kept
    assert folder(root, cache=16).metadata().smallest == ((4, 3), (6, 8))
    assert folder(root, val_size=8).metadata().smallest == ((4, 3), (6, 8))
    assert folder(root, resize=9, val_size=16).metadata().smallest == ((9, 9), (9, 9))
    (root / "train" / "cat" / "img 01.png").write_bytes(b"no image")
    assert folder(root).metadata().smallest[0][1] == 8  # loading names it
