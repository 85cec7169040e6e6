"""Options of the built-in datasets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import (
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
)

from backbench.data.classes import NAMES, class_list
from backbench.errors import DataError
from backbench.options.base import MOST_SIDE
from backbench.plugin import ExcludeDefaultFromKey, ExcludeFromKey, Field, LocalPath, Options

#: Revision of the embedded dataset: it goes up when other images are drawn.
EMBEDDED_REVISION: Final = 1

_RESIZE = (
    "side of the squares that images are made into, px: the short side is resized to it and "
    "the center cut out; left out, every image keeps its size"
)
_VAL_SIZE = (
    "side of the validation squares, px: the short side is resized to 8/7 of it and the center "
    "cut out, 256 and 224 as published; left out, resize holds for them too, and without "
    "resize it is 224 where the validation images differ in size; where they share a size that is "
    "not square, an attack needs one of the two"
)
_CACHE = (
    "which images are kept decoded in the store, besides those of one size that fit in memory: "
    "auto, if they take 8 GiB at most; full, always; off, never: they are decoded at every epoch; "
    "a number, always, training images made smaller until the short side has so many px: other "
    "numbers come out then, since crops are cut from less"
)


def _know_cache(value: Any, local: ValidatorFunctionWrapHandler, info: ValidationInfo) -> str | int:
    """Report once which values are right, and not for each kind of value."""
    try:
        known: str | int = local(value)
    except ValidationError:
        raise ValueError('should be "auto", "full", "off", or a number of pixels from 16') from None
    if isinstance(known, int) and info.data.get("resize") is not None:
        raise ValueError("cache takes no number when resize is set: leave one of them out")
    return known


# What a number of pixels makes of the images is in the fingerprint of the content, as with
# `classes`; the words change no number.
_Cache = Annotated[
    Literal["auto", "full", "off"] | Annotated[int, Field(ge=16)],
    WrapValidator(_know_cache),
    ExcludeFromKey(),
]


def _named_or_local(value: Any, local: ValidatorFunctionWrapHandler) -> Path:
    """Leave the name of a shipped class list alone; make any other path absolute."""
    path: Path = Path(value) if value in NAMES else local(value)
    return path


#: Of the embedded dataset: as many as its shapes, textures and palettes give.
MAX_CLASSES = 200

#: More would not fit in memory.
_MOST_EACH = 1_000_000


class EmbeddedOptions(Options):
    """Options of the embedded dataset."""

    classes: int = Field(default=10, ge=2, le=MAX_CLASSES, description="number of classes")
    size: int = Field(default=32, ge=16, le=512, description="side of the square images, px")
    train_per_class: int = Field(
        default=400, ge=1, le=_MOST_EACH, description="number of training images of each class"
    )
    val_per_class: int = Field(
        default=100, ge=1, le=_MOST_EACH, description="number of validation images of each class"
    )
    seed: int = Field(default=0, ge=0, description="which world of this kind is drawn")


class ImageFolderOptions(Options):
    """Options of a folder of images, a folder a class."""

    root: LocalPath = Field(
        description="folder with the two splits; relative to the benchmark file"
    )
    train: str = Field(default="train", min_length=1, description="name of the training folder")
    val: str = Field(default="val", min_length=1, description="name of the validation folder")
    # What is loaded is in the fingerprint of the content, and so in every key.
    classes: Annotated[tuple[str, ...] | str | None, ExcludeFromKey()] = Field(
        default=None,
        description='take these class folders only: their names, or "imagenet100" for the list '
        "that ships with backbench; left out, every folder is a class",
    )
    resize: int | None = Field(default=None, ge=1, le=MOST_SIDE, description=_RESIZE)
    val_size: int | None = Field(default=None, ge=1, le=MOST_SIDE, description=_VAL_SIZE)
    cache: _Cache = Field(default="auto", description=_CACHE)
    train_per_class: int | None = Field(
        default=None,
        ge=1,
        description="take at most so many training images of each class, evenly spaced in "
        "the order of their names: for quick trials",
    )
    val_per_class: int | None = Field(
        default=None, ge=1, description="the same for validation images"
    )

    @field_validator("val")
    @classmethod
    def _other_folder(cls, value: str, info: ValidationInfo) -> str:
        if value == info.data.get("train"):
            raise ValueError("is the training folder too; name another")
        return value

    @field_validator("classes")
    @classmethod
    def _know_classes(cls, value: tuple[str, ...] | str | None) -> tuple[str, ...] | str | None:
        if isinstance(value, str):
            try:
                class_list(value)
            except DataError as error:
                raise ValueError(str(error)) from None
        elif value is not None and len(set(value)) < max(1, len(value)):
            raise ValueError("name at least one class, and each once")
        return value


class UnlabelledFolderOptions(Options):
    """Options of a folder of images without classes."""

    root: LocalPath = Field(description="folder of the images; relative to the benchmark file")
    resize: int | None = Field(default=None, ge=1, le=MOST_SIDE, description=_RESIZE)
    cache: _Cache = Field(default="auto", description=_CACHE)
    images: int | None = Field(
        default=None,
        ge=1,
        description="take at most so many images, evenly spaced in the order of their names: for "
        "quick trials",
    )

    @property
    def val_size(self) -> None:
        """Return the side of the validation images: there are none."""
        return


class FileListOptions(Options):
    """Options of images named in two lists."""

    train: LocalPath = Field(description="list of training images, a line `path label` each")
    val: LocalPath = Field(description="list of validation images")
    root: LocalPath | None = Field(
        default=None,
        description="folder that the paths in the lists are relative to; left out, each list's "
        "own folder",
    )
    classes: Annotated[LocalPath, WrapValidator(_named_or_local)] | None = Field(
        default=None,
        description="file of class names, one a line, in the order of the labels, or "
        '"imagenet100" for the list that ships with backbench, sorted; left out, the names of '
        "the images' folders if they separate the classes, else the labels",
    )
    resize: int | None = Field(default=None, ge=1, le=MOST_SIDE, description=_RESIZE)
    val_size: int | None = Field(default=None, ge=1, le=MOST_SIDE, description=_VAL_SIZE)
    cache: _Cache = Field(default="auto", description=_CACHE)


class TorchvisionOptions(Options):
    """Options of a published dataset that torchvision reads."""

    root: LocalPath = Field(
        default=Path("~/.cache/backbench/datasets"),
        validate_default=True,
        description="folder that the unpacked dataset lies in",
    )
    download: Annotated[bool, ExcludeFromKey()] = Field(
        default=False, description="fetch the dataset into root where it is not there"
    )


class Stl10Options(TorchvisionOptions):
    """Options of STL-10."""

    unlabelled: Annotated[bool, ExcludeDefaultFromKey()] = Field(
        default=False,
        description="its 100,000 unlabelled images, for pretraining; its labelled images otherwise",
    )
