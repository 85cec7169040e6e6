"""The conformance kit over the dataset: ``python -m pytest``."""

from backbench.testing import DatasetContract

from my_dataset import DATASET


class TestMyDataset(DatasetContract):
    """Loads a small version."""

    info = DATASET
    options = {"train_per_class": 3, "val_per_class": 2}  # noqa: RUF012 - a constant
