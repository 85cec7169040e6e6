"""The embedded world as a dataset: its classes and counts, known without an image.

:mod:`backbench.data.embedded_drawing` draws the images.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from backbench.data.dataset_options import EMBEDDED_REVISION, EmbeddedOptions
from backbench.data.embedded_classes import class_names
from backbench.plugin import Dataset, DatasetMetadata, Split
from backbench.system.json_text import to_json

if TYPE_CHECKING:
    from backbench.images import ImageSet


class Embedded(Dataset):
    """Drawn images, the same on every machine for the same options."""

    options: EmbeddedOptions

    def metadata(self) -> DatasetMetadata:
        """Return the metadata of the images that will be drawn."""
        options = self.options
        return DatasetMetadata(
            classes=class_names(options.classes),
            train=options.classes * options.train_per_class,
            val=options.classes * options.val_per_class,
            size=(options.size, options.size),
            train_per_class=(options.train_per_class,) * options.classes,
        )

    def fingerprint(self, hash_file: Callable[[str], str]) -> str:  # noqa: ARG002 - no files
        """Identify the content by the options and the generator's revision, not by pixels."""
        recipe = {"revision": EMBEDDED_REVISION, **self.options.model_dump(mode="json")}
        return hashlib.sha256(to_json(recipe, sort_keys=True).encode()).hexdigest()

    def load(self, split: Split, *, verify: bool = True) -> ImageSet:  # noqa: ARG002 - always is
        """Draw a split, class by class."""
        from backbench.data.embedded_drawing import render_split
        from backbench.images import ArrayImages

        options = self.options
        per_class = options.train_per_class if split == "train" else options.val_per_class
        pixels, labels = render_split(
            split,
            classes=options.classes,
            per_class=per_class,
            size=options.size,
            seed=options.seed,
        )
        return ArrayImages(pixels, labels, [f"{split}/{i:06d}" for i in range(len(labels))])
