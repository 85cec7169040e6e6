"""Announce the dataset. Every command imports this module: do not import torch here."""

from __future__ import annotations

from collections.abc import Iterable

from backbench.plugin import DatasetInfo, Field, Options, hookimpl


class MyDatasetOptions(Options):
    """Options of the dataset, as a benchmark file gives them."""

    train_per_class: int = Field(200, ge=2, description="training images of each class")
    val_per_class: int = Field(50, ge=1, description="validation images of each class")
    size: int = Field(32, ge=16, description="side of the images, px")


DATASET = DatasetInfo(
    name="my-dataset",
    summary="Noisy stripes in four directions.",
    target="my_dataset.dataset:MyDataset",
    options=MyDatasetOptions,
)


@hookimpl
def register_datasets() -> Iterable[DatasetInfo]:
    """Announce the dataset."""
    yield DATASET
