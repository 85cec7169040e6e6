"""Base class of datasets.

Each is made with ``options``, the validated options of the record that announced the class.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from backbench.options.base import DatasetMetadata, Split

if TYPE_CHECKING:
    from backbench.images import ImageSet


class Dataset(ABC):
    """Labelled images with a training and a validation split.

    The module must not import torch.

    Example::

        # my_plugin/stripes.py
        import numpy as np
        from backbench.plugin import ArrayImages, Dataset, DatasetMetadata

        class Stripes(Dataset):
            def metadata(self):
                each = self.options.images
                return DatasetMetadata(
                    classes=("across", "down"),
                    train=2 * each,
                    val=40,
                    size=(16, 16),
                    train_per_class=(each, each),
                )

            def fingerprint(self, hash_file):
                return f"stripes, version 1, {self.options.images} of each class"

            def load(self, split, *, verify=True):
                each = self.options.images if split == "train" else 20
                rng = np.random.default_rng(("train", "val").index(split))
                pixels = rng.integers(0, 128, (2 * each, 16, 16, 3), dtype=np.uint8)
                pixels[:each, ::4] += 127
                pixels[each:, :, ::4] += 127
                labels = np.repeat(np.arange(2), each)
                return ArrayImages(pixels, labels, [f"{split}/{i}" for i in range(2 * each)])
    """

    def __init__(self, options: Any) -> None:
        self.options = options

    @abstractmethod
    def metadata(self) -> DatasetMetadata:
        """Return the metadata that is known without reading an image.

        Raises:
            DataError: If the dataset is not there, or not what it should be.
        """

    @abstractmethod
    def fingerprint(self, hash_file: Callable[[str], str]) -> str:
        """Identify the content: equal content gives an equal string, on every machine.

        ``hash_file`` gives the SHA-256 of a file; it remembers files that have not changed.
        """

    @abstractmethod
    def load(self, split: Split, *, verify: bool = True) -> ImageSet:
        """Give the images of a split.

        The validation images share one size: the one at which encoders are evaluated. ``verify``
        decodes every image now; without it, images that an earlier call has verified are opened
        when they are requested.

        Raises:
            DataError: Naming every image that cannot be read.
        """

    def notes(self, *, content: bool = False) -> Iterable[str]:  # noqa: ARG002
        """Return sentences for the user, of files that are passed over and the like.

        With ``content``, of what the files hold: called after :meth:`fingerprint`.
        """
        return ()

    def val_per_class(self) -> Sequence[int]:
        """Return the number of validation images of each class; empty where that is not known."""
        return ()
