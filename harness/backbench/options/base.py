"""Options of plugins, and the metadata of the dataset that they meet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo
from pydantic.fields import FieldInfo

from backbench.errors import UsageError
from backbench.system.files import from_home

Split = Literal["train", "val"]

#: Largest side in pixels to which images are resized: larger ones would not fit in memory.
MOST_SIDE: Final = 4096


def count_of(share: float | Decimal, number: int, *, nearest: bool = False) -> int:
    """Return how many a share of a number is, rounded down, or to the nearest, halves to even.

    The product is of the share as it is written, in decimals: .29 of 100 is 29. The binary product
    is 28.999….
    """
    product = Decimal(str(share)) * number
    return round(product) if nearest else int(product)


class ExcludeFromKey:
    """Marks an option that changes no number: ``download: Annotated[bool, ExcludeFromKey()]``."""


class ExcludeDefaultFromKey:
    """Marks an option that a released plugin got later: at its default it is not in the key.

    So the keys of all that does not use the option stay as they were, and numbers are not computed
    again. ``ema: Annotated[float, ExcludeDefaultFromKey()] = Field(0.0, description="…")``.
    """


class _NamesDataset:
    """Marks an option that names a dataset of the benchmark file."""


class _HoldsImages:
    """Marks an option that is a folder of images."""


def _absolute(path: Path, info: ValidationInfo) -> Path:
    base = (info.context or {}).get("base", Path.cwd())
    try:
        return Path(base, from_home(path)).absolute()
    except UsageError as error:
        raise ValueError(str(error)) from None


def holds_path(annotation: Any) -> bool:
    """Return whether a value of a type can be a path."""
    if annotation is Path:
        return True
    return any(holds_path(one) for one in getattr(annotation, "__args__", ()))


def _is_marked(known: FieldInfo, mark: type) -> bool:
    """Return whether the type of an option bears a mark, or a part of the type does."""

    def bears(annotation: Any) -> bool:
        own = getattr(annotation, "__metadata__", ())
        parts = getattr(annotation, "__args__", ())
        return any(isinstance(one, mark) for one in own) or any(map(bears, parts))

    return any(isinstance(one, mark) for one in known.metadata) or bears(known.annotation)


def changes_numbers(known: FieldInfo) -> bool:
    """Return whether an option is not marked :class:`ExcludeFromKey`."""
    return not _is_excluded(known)


def _is_excluded(known: FieldInfo) -> bool:
    return any(isinstance(mark, ExcludeFromKey) for mark in known.metadata)


@cache
def _left_out(model: type[BaseModel]) -> frozenset[str]:
    """Return the options of a model that are in no key, whatever their value."""
    return frozenset(
        name
        for name, known in model.model_fields.items()
        if _is_excluded(known) or _is_marked(known, _NamesDataset)
    )


def _is_unused(known: FieldInfo, value: Any) -> bool:
    later = any(isinstance(mark, ExcludeDefaultFromKey) for mark in known.metadata)
    return later and bool(value == known.get_default(call_default_factory=True))


def _without_paths(plain: Any, value: Any) -> Any:
    """Return the JSON value of an option without the paths in it."""
    if isinstance(value, Path):
        return ""
    if isinstance(value, Options):
        return value.identity()
    if isinstance(value, list | tuple):
        return [_without_paths(*both) for both in zip(plain, value, strict=True)]
    if isinstance(value, Mapping):
        pairs = zip(plain.items(), value.values(), strict=True)
        return {key: _without_paths(one, given) for (key, one), given in pairs}
    return plain


def _files(value: Any, name: str) -> Iterator[tuple[str, Path]]:
    if isinstance(value, Path):
        yield name, value
    elif isinstance(value, BaseModel):
        fields = type(value).model_fields
        for field, known in fields.items():
            if not _is_excluded(known) and f"{field}_sha256" not in fields:
                yield from _files(getattr(value, field), f"{name}.{field}".lstrip("."))
    elif isinstance(value, list | tuple | Mapping):
        pairs = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, one in pairs:
            yield from _files(one, f"{name}.{key}")


#: A path option, relative to the benchmark file. Where a file or folder lies is never part of a
#: stage's key; its content is, but for a dataset, which states its content itself.
LocalPath = Annotated[Path, AfterValidator(_absolute)]


#: An option that names a dataset of the benchmark file, whose training images an attack may use.
#: The name is never part of a stage's key; the content of the dataset is.
DatasetName = Annotated[str, Field(min_length=1), _NamesDataset()]

#: A folder of images that an attack may use; a :data:`LocalPath`.
ImagesPath = Annotated[Path, AfterValidator(_absolute), _HoldsImages()]


class Options(BaseModel):
    """Base of every plugin's options: strict, frozen, and documented by their fields.

    Give each field a ``Field(description=...)`` and bounds: they appear in ``backbench plugins
    show``, in the JSON Schema, and in the errors of a benchmark file.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True)

    def problems(self, data: DatasetMetadata) -> Iterable[str]:  # noqa: ARG002
        """Return why these options cannot work on a dataset: one sentence a problem."""
        return ()

    def added_images(self, data: DatasetMetadata) -> int:  # noqa: ARG002
        """Return how many poisons an attack adds to a dataset; for estimates of the cost."""
        return 0

    def identity(self) -> dict[str, Any]:
        """Return the options that change numbers, as JSON values: what enters a stage's key.

        Paths, and what is marked :class:`ExcludeFromKey`, are left out, also of nested options; and
        what is marked :class:`ExcludeDefaultFromKey`, at its default.
        The content of files is added by the harness; see :meth:`files`.
        """
        keyed, left_out = self.model_dump(mode="json"), _left_out(type(self))
        for name, known in type(self).model_fields.items():
            value = getattr(self, name)
            is_path = isinstance(value, Path) or (value is None and holds_path(known.annotation))
            if name in left_out or is_path or _is_unused(known, value):
                del keyed[name]
            else:
                keyed[name] = _without_paths(keyed[name], value)
        return keyed

    def sets(self) -> dict[str, str | Path]:
        """Return the sets of images that options name, by option: a dataset's name, or a folder."""
        found: dict[str, str | Path] = {}
        for name, known in type(self).model_fields.items():
            value = getattr(self, name)
            named = isinstance(value, str) and _is_marked(known, _NamesDataset)
            if named or (isinstance(value, Path) and _is_marked(known, _HoldsImages)):
                found[name] = value
        return found

    def files(self) -> dict[str, Path]:
        """Return the paths whose content enters a stage's key, by option: ``reference``.

        Of an option ``reference`` beside which there is an option ``reference_sha256`` the plugin
        itself sees to that.
        """
        return dict(_files(self, ""))


def refuse_unread(options: Options, choice: str, readers: Mapping[str, tuple[str, ...]]) -> None:
    """Refuse options that the choice made does not read; at their defaults they say nothing.

    Call it in a validator, after the values are known.

    Args:
        options: The options, one of which is a choice.
        choice: Name of that option: ``solver``.
        readers: Values of the choice that read an option, by the option's name.

    Raises:
        ValueError: If another value was chosen; it names every such option.
    """
    chosen, fields = getattr(options, choice), type(options).model_fields
    unread = [
        f"{name}: read only by {' and '.join(values)}, and {choice} is {chosen}"
        for name, values in readers.items()
        if chosen not in values and getattr(options, name) != fields[name].default
    ]
    if unread:
        raise ValueError("; ".join(unread))


class JPEGOptions(Options):
    """Base of the options of an attack whose stamped images may go through JPEG."""

    jpeg_quality: int | None = Field(
        default=None,
        ge=1,
        le=95,
        description="stamped images go through JPEG of this quality (4:2:0) once, and clean ones "
        "do not; 75 as published. Left out, none does",
    )


@dataclass(frozen=True, slots=True)
class DatasetMetadata:
    """Metadata of a dataset, known before any image is read.

    Args:
        classes: Class names; the position is the class index. None of a dataset without labels,
            whose labels are all -1 and which has no validation images.
        train: Number of training images.
        val: Number of validation images.
        size: Height and width that all images share; ``None`` where they differ.
        train_per_class: Number of training images of each class.
        smallest: Where images differ in size, the least height and the least width of each class's
            training images, as an attack meets them, and of all validation images; empty where
            that is not known.
    """

    classes: tuple[str, ...]
    train: int
    val: int
    size: tuple[int, int] | None
    train_per_class: tuple[int, ...]
    smallest: tuple[tuple[int, int], ...] = ()

    @property
    def labelled(self) -> bool:
        """Return whether the classes of the images are known."""
        return bool(self.classes)
