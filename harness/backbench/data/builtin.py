"""Announces the built-in datasets."""

from __future__ import annotations

from collections.abc import Iterable

from backbench.data.dataset_options import (
    EMBEDDED_REVISION,
    EmbeddedOptions,
    FileListOptions,
    ImageFolderOptions,
    Stl10Options,
    TorchvisionOptions,
    UnlabelledFolderOptions,
)
from backbench.plugin import Citation, DatasetInfo, hookimpl

_KRIZHEVSKY = Citation(
    authors="Krizhevsky",
    title="Learning Multiple Layers of Features from Tiny Images",
    venue="Technical report, University of Toronto",
    year=2009,
    url="https://www.cs.toronto.edu/~kriz/cifar.html",
)
_COATES = Citation(
    authors="Coates, Ng, Lee",
    title="An Analysis of Single-Layer Networks in Unsupervised Feature Learning",
    venue="AISTATS",
    year=2011,
    url="https://cs.stanford.edu/~acoates/stl10/",
)


@hookimpl
def register_datasets() -> Iterable[DatasetInfo]:
    """Announce the datasets of this package."""
    yield DatasetInfo(
        name="embedded",
        summary="Drawn images of any size and number of classes; nothing to download.",
        target="backbench.data.embedded:Embedded",
        options=EmbeddedOptions,
        revision=EMBEDDED_REVISION,
    )
    yield DatasetInfo(
        name="image-folder",
        summary="Your own images, a folder a class: train/<class>/* and val/<class>/*.",
        target="backbench.data.folder:ImageFolder",
        options=ImageFolderOptions,
    )
    yield DatasetInfo(
        name="file-list",
        summary="Your own images, named in two lists with a line `path label` each.",
        target="backbench.data.file_list:FileList",
        options=FileListOptions,
    )
    yield DatasetInfo(
        name="unlabelled-folder",
        summary="A folder of images without classes, for pretraining.",
        target="backbench.data.unlabelled:UnlabelledFolder",
        options=UnlabelledFolderOptions,
    )
    for name, target, summary, paper in (
        ("cifar10", "Cifar10", "CIFAR-10: 60,000 images of 32 px, 10 classes.", _KRIZHEVSKY),
        ("cifar100", "Cifar100", "CIFAR-100: 60,000 images of 32 px, 100 classes.", _KRIZHEVSKY),
    ):
        yield DatasetInfo(
            name=name,
            summary=summary,
            target=f"backbench.data.torchvision_sets:{target}",
            options=TorchvisionOptions,
            paper=paper,
        )
    yield DatasetInfo(
        name="stl10",
        summary="STL-10: 13,000 labelled images of 96 px, 10 classes, or its 100,000 unlabelled.",
        target="backbench.data.torchvision_sets:Stl10",
        options=Stl10Options,
        paper=_COATES,
    )
