"""A dataset of which only the published counts are known: enough to plan with."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.metadata import version
from typing import Final, NoReturn

from backbench.data.classes import class_list
from backbench.errors import DataError
from backbench.plugin import Dataset, DatasetInfo, DatasetMetadata, Split, hookimpl
from backbench.plugin.registry import Origin, Registry

#: Name of the plugin; it is there only where a reproduction is planned without its images.
STAND_IN: Final = "imagenet100-counts"

#: Images of ImageNet-100. How they are spread over the classes is not published; evenly, here.
TRAIN: Final = 126_689
VAL: Final = 5_000


class _StandIn:
    @hookimpl
    def register_datasets(self) -> Iterable[DatasetInfo]:
        yield DatasetInfo(
            name=STAND_IN,
            summary="ImageNet-100 by its published counts: to plan with, not to run.",
            target=f"{__name__}:ImageNet100Counts",
        )


def add_stand_in(registry: Registry) -> None:
    """Let a benchmark be planned that names :data:`STAND_IN` as a dataset's plugin."""
    registry.add(_StandIn(), Origin("backbench", version("backbench"), "reproductions"))


class ImageNet100Counts(Dataset):
    """ImageNet-100 without its images."""

    def metadata(self) -> DatasetMetadata:
        """Say what is published: the classes, and how many images there are."""
        classes = tuple(sorted(class_list("imagenet100")))
        each, more = divmod(TRAIN, len(classes))
        return DatasetMetadata(
            classes=classes,
            train=TRAIN,
            val=VAL,
            size=None,
            train_per_class=tuple(each + (rank < more) for rank in range(len(classes))),
        )

    def fingerprint(self, hash_file: Callable[[str], str]) -> str:  # noqa: ARG002 - has no file
        """Return what no dataset with images returns."""
        return STAND_IN

    def load(self, split: Split, *, verify: bool = True) -> NoReturn:  # noqa: ARG002 - has none
        """Refuse: there is no image."""
        raise DataError("ImageNet-100 can be planned without its images, not run: give --data")
