"""The embedded dataset, and the published ones without fetching them."""

import numpy as np
import pytest
from torchvision import datasets

from backbench.data import embedded
from backbench.data.builtin import register_datasets
from backbench.data.dataset_options import EmbeddedOptions, Stl10Options, TorchvisionOptions
from backbench.data.embedded import Embedded
from backbench.data.torchvision_sets import Cifar10, Cifar100, Stl10
from backbench.errors import DataError

OPTIONS = {Cifar10: TorchvisionOptions, Cifar100: TorchvisionOptions, Stl10: Stl10Options}

SMALL = EmbeddedOptions(classes=3, size=16, train_per_class=4, val_per_class=2)


def no_hash(path):
    raise AssertionError(path)


def test_embedded_is_what_it_says():
    data = Embedded(SMALL)
    metadata, train, val = data.metadata(), data.load("train"), data.load("val")
    assert metadata.classes == embedded.class_names(3)
    assert (
        (metadata.train, metadata.val, metadata.size)
        == (len(train), len(val), (16, 16))
        == (12, 6, (16, 16))
    )
    assert np.bincount(train.labels).tolist() == list(metadata.train_per_class)
    assert train.pixels.shape == (12, 16, 16, 3)
    assert train.sources[5] == "train/000005"
    assert np.array_equal(train.pixels, Embedded(SMALL).load("train").pixels)
    assert not np.array_equal(train.pixels[:6], val.pixels)


def test_embedded_fingerprint_is_the_recipe(monkeypatch):
    one = Embedded(SMALL).fingerprint(no_hash)
    assert one == Embedded(SMALL).fingerprint(no_hash)
    assert one != Embedded(SMALL.model_copy(update={"seed": 1})).fingerprint(no_hash)
    monkeypatch.setattr(embedded, "EMBEDDED_REVISION", embedded.EMBEDDED_REVISION + 1)
    assert one != Embedded(SMALL).fingerprint(no_hash)


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        (Cifar10, (10, 50_000, 10_000, (32, 32))),
        (Cifar100, (100, 50_000, 10_000, (32, 32))),
        (Stl10, (10, 5_000, 8_000, (96, 96))),
    ],
)
def test_published_metadata_need_no_files_when_fetching_is_allowed(tmp_path, dataset, expected):
    data = dataset(OPTIONS[dataset](root=tmp_path, download=True))
    metadata = data.metadata()
    assert (len(set(metadata.classes)), metadata.train, metadata.val, metadata.size) == expected
    assert list(metadata.classes) == sorted(metadata.classes)
    assert sum(metadata.train_per_class) == metadata.train
    assert len(metadata.train_per_class) == len(metadata.classes)
    assert data.published.archive in data.fingerprint(no_hash)


@pytest.mark.parametrize("dataset", [Cifar10, Cifar100, Stl10])
def test_absent_sets_say_how_to_get_them(tmp_path, dataset):
    data = dataset(OPTIONS[dataset](root=tmp_path))
    for use in (data.metadata, lambda: data.load("train")):
        with pytest.raises(DataError, match="set download = true to fetch"):
            use()


@pytest.mark.parametrize("dataset", [Cifar10, Cifar100, Stl10])
def test_known_metadata_are_torchvisions(dataset):
    published = dataset.published
    theirs = getattr(datasets, published.name)
    assert (theirs.base_folder, theirs.filename, theirs.tgz_md5) == (
        published.folder,
        published.archive,
        published.md5,
    )


@pytest.fixture
def torchvision_cifar(monkeypatch):
    """torchvision's CIFAR10 as it behaves, without the net."""

    class Fake:
        def __init__(self, root, *, train, download):
            place = root / "cifar-10-batches-py"
            if download:
                place.mkdir()
                (place / "data").write_text("whole")
            if not (place / "data").is_file():
                raise RuntimeError("Dataset not found or corrupted.")
            self.data = np.full((4, 32, 32, 3), 7 if train else 8, np.uint8)
            self.targets = [0, 1, 2, 3]

    monkeypatch.setattr(datasets, "CIFAR10", Fake)
    return Fake


def test_fetching_leaves_the_whole_set_and_nothing_else(tmp_path, torchvision_cifar):
    root = tmp_path / "new" / "folder"
    images = Cifar10(TorchvisionOptions(root=root, download=True)).load("val")
    assert [p.name for p in root.iterdir()] == ["cifar-10-batches-py"]
    assert images.pixels.max() == 8
    assert images.labels.tolist() == [0, 1, 2, 3]
    assert images.sources[1] == "val/000001"
    assert Cifar10(TorchvisionOptions(root=root)).load("train").pixels.max() == 7


def test_a_damaged_set_is_named(tmp_path, torchvision_cifar):
    (tmp_path / "cifar-10-batches-py").mkdir()
    with pytest.raises(DataError, match=r"damaged or incomplete .*; remove it"):
        Cifar10(TorchvisionOptions(root=tmp_path)).load("train")


def test_failed_fetch_says_what_to_do_and_leaves_nothing(tmp_path, monkeypatch):
    def fail(root, *, train, download):
        (root / "half").touch()
        raise OSError("no network")

    monkeypatch.setattr(datasets, "CIFAR10", fail)
    with pytest.raises(DataError, match=r"no network.*fetch it by hand"):
        Cifar10(TorchvisionOptions(root=tmp_path, download=True)).load("train")
    assert not list(tmp_path.iterdir())


def test_stl10_images_get_their_channels_last(tmp_path, monkeypatch):
    class Fake:
        def __init__(self, root, *, split, download):
            self.data = np.zeros((2, 3, 96, 96), np.uint8)
            self.data[:, 1] = 5 if split == "test" else 6
            self.labels = np.array([3, 4], np.uint8)

    (tmp_path / "stl10_binary").mkdir()
    monkeypatch.setattr(datasets, "STL10", Fake)
    images = Stl10(Stl10Options(root=tmp_path)).load("val")
    assert images.pixels.shape == (2, 96, 96, 3)
    assert images.pixels[0, 0, 0].tolist() == [0, 5, 0]
    assert images.labels.tolist() == [3, 4]


def test_the_unlabelled_images_of_stl10_are_a_dataset_without_labels(tmp_path, monkeypatch):
    class Fake:
        def __init__(self, root, *, split, download):
            assert split == "unlabeled"
            self.data = np.zeros((2, 3, 96, 96), np.uint8)
            self.labels = np.array([-1, -1])

    (tmp_path / "stl10_binary").mkdir()
    monkeypatch.setattr(datasets, "STL10", Fake)
    data = Stl10(Stl10Options(root=tmp_path, unlabelled=True))
    assert not data.metadata().labelled
    assert (data.metadata().train, data.metadata().val) == (100_000, 0)
    assert data.load("train").labels.tolist() == [-1, -1]
    assert len(data.load("val")) == 0


def test_every_record_points_at_a_class():
    from importlib import import_module

    names = []
    for info in register_datasets():
        module, _, name = info.target.partition(":")
        assert getattr(import_module(module), name)
        assert all(field.description for field in info.options.model_fields.values())
        names.append(info.name)
    assert names == [
        *("embedded", "image-folder", "file-list", "unlabelled-folder"),
        *("cifar10", "cifar100", "stl10"),
    ]
