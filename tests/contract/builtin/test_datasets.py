"""The conformance kit over every built-in dataset."""

# ruff: noqa: RUF012 - options are written as a plugin author writes them

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torchvision
from PIL import Image

from backbench.data import torchvision_sets
from backbench.testing import DatasetContract
from tests.contract.builtin.shared import record


class TestEmbedded(DatasetContract):
    info = record("dataset", "embedded")
    options = {"classes": 12, "size": 16, "train_per_class": 3, "val_per_class": 2}


def draw(path, size, color):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).save(path)


class TestImageFolder(DatasetContract):
    info = record("dataset", "image-folder")

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path):
        for index in range(4):
            for label, name in enumerate(("ant", "bee hive")):
                size = (20 + index, 24)
                draw(tmp_path / f"train/{name}/{index}.png", size, (index, label, 0))
                draw(tmp_path / f"val/{name}/{index}.png", size, (index, label, 255))
        self.options = {"root": str(tmp_path), "val_size": 16}


class TestUnlabelledFolder(DatasetContract):
    info = record("dataset", "unlabelled-folder")

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path):
        for index in range(3):
            draw(tmp_path / f"images/{index}.png", (20 + index, 24), (index, 0, 0))
        self.options = {"root": str(tmp_path / "images"), "resize": 16}


class TestFileList(DatasetContract):
    info = record("dataset", "file-list")

    @pytest.fixture(autouse=True)
    def _lists(self, tmp_path):
        for split in ("train", "val"):
            lines = []
            for index in range(6):
                draw(tmp_path / f"{split} {index}.png", (16, 16), (index, 0, split == "val"))
                lines.append(f"{split} {index}.png {index % 3}\n")
            (tmp_path / f"{split}.txt").write_text("".join(lines))
        self.options = {split: str(tmp_path / f"{split}.txt") for split in ("train", "val")}


class PublishedContract(DatasetContract):
    """torchvision's reader is replaced by one that gives twenty images: nothing is fetched."""

    implementation_class: type[torchvision_sets.TorchvisionDataset]

    @pytest.fixture(autouse=True)
    def _twenty_images(self, tmp_path, monkeypatch):
        published = self.implementation_class.published
        classes = len(published.classes.split())
        small = dataclasses.replace(published, train=2 * classes, val=classes)
        monkeypatch.setattr(self.implementation_class, "published", small)
        monkeypatch.setattr(torchvision.datasets, published.name, self._opened)
        (tmp_path / published.folder).mkdir()
        self.options = {"root": str(tmp_path)}

    def _opened(self, _root, *, train=False, split="", **_unused):
        published = self.implementation_class.published
        count = published.train if train or split == "train" else published.val
        side, classes = published.side, len(published.classes.split())
        pixels = np.random.default_rng(count).integers(
            0, 256, (count, side, side, 3), dtype=np.uint8
        )
        targets = (np.arange(count) % classes).tolist()
        return SimpleNamespace(data=pixels, targets=targets, labels=np.array(targets, np.uint8))


class TestCifar10(PublishedContract):
    info = record("dataset", "cifar10")
    implementation_class = torchvision_sets.Cifar10


class TestCifar100(PublishedContract):
    info = record("dataset", "cifar100")
    implementation_class = torchvision_sets.Cifar100


class TestStl10(PublishedContract):
    info = record("dataset", "stl10")
    implementation_class = torchvision_sets.Stl10

    def _opened(self, _root, **asked):
        opened = super()._opened(_root, **asked)
        opened.data = opened.data.transpose(0, 3, 1, 2)  # as torchvision gives them
        return opened
