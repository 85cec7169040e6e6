"""Real photographs, where they are: BACKBENCH_TEST_DATA, by default ../shared/data."""

import os
import re
import tarfile
from pathlib import Path

import pytest

from backbench.data.dataset_options import FileListOptions, ImageFolderOptions
from backbench.data.file_list import FileList
from backbench.data.fingerprint import FileHashes
from backbench.data.folder import ImageFolder

DATA = Path(os.environ.get("BACKBENCH_TEST_DATA", Path(__file__).parents[4] / "shared" / "data"))
PHOTOGRAPHS = DATA / "imagenet100-sample.tar"
CIFAR = DATA / "cifar10-jpeg.tar.gz"

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no folder {DATA}")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    if not PHOTOGRAPHS.is_file():
        pytest.skip(f"no file {PHOTOGRAPHS}")
    folder = tmp_path_factory.mktemp("photographs")
    with tarfile.open(PHOTOGRAPHS) as tar:
        tar.extractall(folder, filter="data")
    return folder / "imagenet100-sample"


def test_photographs_in_a_folder(photographs, tmp_path):
    for split in ("train", "val"):
        (tmp_path / split).symlink_to(photographs)
    data = ImageFolder(ImageFolderOptions(root=tmp_path))
    metadata = data.metadata()
    assert (len(metadata.classes), metadata.train, metadata.size) == (100, 100, None)
    train = data.load("train", verify=False)
    assert train.pixels is None
    assert all(train.image(i).shape[2] == 3 for i in range(0, 100, 10))
    val = data.load("val")
    assert val.pixels is not None
    assert val.pixels.shape == (100, 224, 224, 3)


def test_photographs_in_a_list(photographs, tmp_path):
    paths = sorted(photographs.glob("*/*.JPEG"))
    lines = "\n".join(f"{path} {label}" for label, path in enumerate(paths))
    (tmp_path / "list.txt").write_text(lines)
    options = FileListOptions(train=tmp_path / "list.txt", val=tmp_path / "list.txt", resize=32)
    data = FileList(options)
    assert data.metadata().classes[0] == "n01558993"
    assert data.load("train").pixels.shape == (100, 32, 32, 3)
    hashes = FileHashes(tmp_path / "hashes")
    assert data.fingerprint(hashes) == data.fingerprint(hashes)


def test_cifar_in_a_folder(tmp_path):
    if not CIFAR.is_file():
        pytest.skip(f"no file {CIFAR}")
    with tarfile.open(CIFAR) as tar:
        some = [member for member in tar if re.search(r"00[0-4]\d\.jpg$", member.name)]
        tar.extractall(tmp_path, some, filter="data")
    data = ImageFolder(ImageFolderOptions(root=tmp_path, val="test"))
    assert data.metadata().size == (32, 32)
    assert data.metadata().train_per_class == (50,) * 10
    assert data.load("train").pixels.shape == (500, 32, 32, 3)
