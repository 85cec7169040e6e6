"""The embedded dataset: made by the package, nothing to download."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

from backbench.data import embedded
from backbench.data.dataset_options import EmbeddedOptions
from backbench.images import ArrayImages, ImageSet
from backbench.plugin import Dataset, DatasetMetadata, Split


class Embedded(Dataset):
    """Drawn images, the same on every machine for the same options."""

    options: EmbeddedOptions

    def metadata(self) -> DatasetMetadata:
        """Say what will be drawn."""
        options = self.options
        return DatasetMetadata(
            classes=embedded.class_names(options.classes),
            train=options.classes * options.train_per_class,
            val=options.classes * options.val_per_class,
            size=(options.size, options.size),
            train_per_class=(options.train_per_class,) * options.classes,
        )

    def fingerprint(self, hash_file: Callable[[str], str]) -> str:  # noqa: ARG002 - no files
        """Identify the content by the options and the generator's revision, not by pixels."""
        recipe = {"revision": embedded.REVISION, **self.options.model_dump(mode="json")}
        return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()

    def load(self, split: Split, *, verify: bool = True) -> ImageSet:  # noqa: ARG002 - always is
        """Draw a split, class by class."""
        options = self.options
        per_class = options.train_per_class if split == "train" else options.val_per_class
        pixels, labels = embedded.render_split(
            split,
            classes=options.classes,
            per_class=per_class,
            size=options.size,
            seed=options.seed,
        )
        return ArrayImages(pixels, labels, [f"{split}/{i:06d}" for i in range(len(labels))])
