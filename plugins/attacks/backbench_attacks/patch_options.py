"""Options of ``patch``."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import ValidationInfo, field_validator

from backbench.plugin import DataError, DatasetMetadata, Field, JPEGOptions, LocalPath, Split
from backbench_attacks.rate import Rate
from backbench_attacks.target import images_of, target_problem

if TYPE_CHECKING:
    from backbench_attacks.triggers import Trigger

Fraction = Annotated[float, Field(ge=0, le=1)]
Range = tuple[Fraction, Fraction]
Placement = Literal["random", "center", "multiple"]
Blend = Literal["composite", "paste"]


def _default_rate(data: dict[str, Any]) -> Rate:
    if data.get("mode") == "untargeted":
        return Rate(of="dataset", value=0.05)
    return Rate(of="target_class", value=0.5)


class PatchOptions(JPEGOptions):
    """Options of the patch attack."""

    mode: Literal["targeted", "untargeted"] = Field(
        "targeted", description="poison images of the target class only, or of any class"
    )
    target: str | None = Field(
        None, validate_default=True, description="class that the trigger stands for; targeted only"
    )
    rate: Rate = Field(
        default_factory=_default_rate,
        description="how many training images are poisoned; left out, half of the target "
        "class, or a twentieth of the dataset if untargeted",
    )
    text: str | None = Field(
        None,
        min_length=1,
        description="a line of text that is the trigger, in black; trigger and width are not used "
        "then",
    )
    text_size: int = Field(30, ge=1, description="size of the text's font, px")
    font: LocalPath | None = Field(
        None,
        description="font file of the text, relative to the benchmark file; left out, the font "
        "that Pillow brings along",
    )
    font_sha256: str | None = Field(
        None, validate_default=True, description="SHA-256 of that file; filled in, or set to insist"
    )
    trigger: Annotated[int, Field(strict=True, ge=0)] | LocalPath = Field(
        0,
        description="number of a made trigger, or the path of an image file, relative to the "
        "benchmark file; where blend is composite its transparent pixels are laid on white",
    )
    trigger_sha256: str | None = Field(
        None, validate_default=True, description="SHA-256 of that file; filled in, or set to insist"
    )
    width: int = Field(
        50, ge=1, description="width of the trigger on the image, px; its height follows its shape"
    )
    blend: Blend = Field(
        default_factory=lambda data: "composite" if data.get("text") is None else "paste",
        description="composite: the trigger covers its box; paste: it covers what its own alpha "
        "channel says, as a text always does",
    )
    train_placement: Placement = Field(
        "random",
        description="where the trigger goes on a training image: anywhere in train_location, "
        "in the middle, or nine times in a grid at quarters of width and height",
    )
    train_location: Range = Field(
        (0.25, 0.75),
        description="where the trigger may lie on a training image, as fractions of its width "
        "and height: its left and upper edge begin at the first, and where there is room its "
        "right and lower edge end at the second; with paste, its middle lies between them",
    )
    val_placement: Placement = Field(
        "random", description="as train_placement, for images of the triggered evaluation"
    )
    val_location: Range = Field((0.10, 0.90), description="as train_location, for the same images")
    opacity: float = Field(
        default_factory=lambda data: 1.0 if data.get("text") is None else 0.5,
        gt=0,
        le=1,
        description="share of the trigger in its box; 1 hides the image. Left out, 1, and a "
        "half for a text",
    )
    val_opacity: float | None = Field(
        None, gt=0, le=1, description="the same in the triggered evaluation; left out, as opacity"
    )

    def opacity_of(self, split: Split) -> float:
        """Return the share of the trigger on the images of a split."""
        return self.opacity if split == "train" or self.val_opacity is None else self.val_opacity

    @field_validator("target")
    @classmethod
    def _check_target(cls, target: str | None, info: ValidationInfo) -> str | None:
        mode = info.data.get("mode")
        if mode == "targeted" and target is None:
            raise ValueError("a targeted attack needs the name of a class")
        if mode == "untargeted" and target is not None:
            raise ValueError("an untargeted attack has no target; remove it, or set mode")
        return target

    @field_validator("rate")
    @classmethod
    def _check_rate(cls, rate: Rate, info: ValidationInfo) -> Rate:
        if info.data.get("mode") == "untargeted" and rate.of == "target_class":
            raise ValueError('an untargeted attack has no target class; set of = "dataset"')
        return rate

    @field_validator("trigger")
    @classmethod
    def _check_trigger(cls, trigger: int | Path) -> int | Path:
        if isinstance(trigger, Path):
            from backbench.plugin import decode

            try:
                decode(trigger)
            except DataError as error:
                raise ValueError(str(error)) from error
        return trigger

    @field_validator("text")
    @classmethod
    def _check_text(cls, text: str | None) -> str | None:
        if text is not None and not text.isprintable():
            raise ValueError("a text is one line of printable characters")
        return text

    @field_validator("font")
    @classmethod
    def _check_font(cls, font: Path | None) -> Path | None:
        if font is not None:
            from PIL import ImageFont

            try:
                ImageFont.truetype(font, 10)
            except OSError as error:
                reason = "is not a font file" if font.is_file() else "no such file"
                raise ValueError(f"{font}: {reason}") from error
        return font

    @field_validator("font_sha256", "trigger_sha256")
    @classmethod
    def _pin_file(cls, pinned: str | None, info: ValidationInfo) -> str | None:
        name = str(info.field_name).removesuffix("_sha256")
        path = info.data.get(name)
        if not isinstance(path, Path):
            if pinned is not None:
                raise ValueError(f"there is no {name} file to compare it with")
            return None
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if pinned not in (None, found):
            raise ValueError(f"{path} has changed: its SHA-256 is {found} now")
        return found

    @field_validator("blend")
    @classmethod
    def _check_blend(cls, blend: Blend, info: ValidationInfo) -> Blend:
        if blend == "composite" and info.data.get("text") is not None:
            raise ValueError("a text is pasted by its own shape; remove blend")
        return blend

    @field_validator("train_location", "val_location")
    @classmethod
    def _check_range(cls, location: Range) -> Range:
        if location[0] > location[1]:
            raise ValueError("the first fraction must not be above the second")
        if location[0] == 1:
            raise ValueError("the first fraction must be below 1, or nothing of the trigger shows")
        return location

    def make_trigger(self, split: Split) -> Trigger:
        """Make the trigger that these options describe for the images of a split.

        Raises:
            DataError: If its file cannot be read.
            ValueError: If the text draws nothing.
        """
        from backbench_attacks import triggers

        opacity = self.opacity_of(split)
        if self.text is not None:
            if len(self.text) * self.text_size**2 > triggers.MOST_PX:
                raise ValueError(
                    "the text would be larger than a photograph; make text_size smaller"
                )
            return triggers.text_trigger(self.text, self.text_size, self.font, opacity)
        if self.blend == "paste":
            return triggers.shaped_trigger(self.trigger, self.width, opacity)
        pixels = triggers.resize_trigger(triggers.load_trigger(self.trigger), self.width)
        return triggers.Trigger("box", pixels)

    def problems(self, data: DatasetMetadata) -> Iterator[str]:
        """Yield why the attack cannot work on a dataset: its target, its rate, its size."""
        problem = None if self.target is None else target_problem(self.target, data.classes)
        if problem:
            yield problem
        else:
            candidates = data.train if self.target is None else images_of(self.target, data)
            if problem := self.rate.problem(candidates, data.train):
                yield problem
        if size := self._least_size(data):
            try:
                problem = self.size_problem(self._trigger_size(), *size)
            except ValueError as error:
                problem = str(error)
            if problem:
                yield problem

    def _least_size(self, data: DatasetMetadata) -> tuple[int, int] | None:
        """Return the least height and width of the images that may get a trigger, if known."""
        own = data.smallest
        if self.target in data.classes and own:
            own = (own[data.classes.index(self.target)],)
        if data.size or not own:
            return data.size
        return min(high for high, _ in own), min(wide for _, wide in own)

    def _trigger_size(self) -> tuple[int, int]:
        """Return width and height of the trigger in pixels; a built-in one is square."""
        if self.text is None and isinstance(self.trigger, int):
            return self.width, self.width  # known without NumPy, which `check` need not import
        return self.make_trigger("train").size

    def size_problem(self, size: tuple[int, int], high: int, wide: int) -> str:
        """Return why a trigger of a width and height does not fit an image; empty if it does."""
        width, height = size
        if height <= high and width <= wide:
            return ""
        option = "width" if self.text is None else "text_size"
        return (
            f"{option}: the trigger is {width} x {height} px, larger than an image of "
            f"{wide} x {high}; make {option} smaller"
        )
