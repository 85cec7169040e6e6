"""Options that attacks with one square trigger share. No torch."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Annotated

from backbench.plugin import DatasetMetadata, Field, LocalPath, Options, Split

if TYPE_CHECKING:
    from backbench_attacks.triggers import Trigger

Fraction = Annotated[float, Field(ge=0, le=1)]
Range = tuple[Fraction, Fraction]


class BoxTriggerOptions(Options):
    """Options of a trigger that is put on images as a box."""

    trigger: Annotated[int, Field(strict=True, ge=0)] | LocalPath = Field(
        0,
        description="number of a made trigger, or the path of an image file, relative to the "
        "benchmark file",
    )
    width: int = Field(
        50, ge=1, description="width of the trigger, px; its height follows its shape"
    )
    opacity: float = Field(
        0.8, gt=0, le=1, description="share of the trigger in its box; 1 hides the image"
    )
    train_location: Range = Field(
        (0.45, 0.55),
        description="where the trigger begins and, where there is room, ends on a training image, "
        "as fractions of its width and height",
    )
    val_location: Range = Field(
        (0.10, 0.90), description="as train_location, on images of the triggered evaluation"
    )

    def location(self, split: Split) -> Range:
        """Return where the trigger lies on the images of a split."""
        return self.train_location if split == "train" else self.val_location

    @cached_property
    def made_trigger(self) -> Trigger:
        """The trigger at its size; reading it needs Pillow."""
        from backbench_attacks.triggers import Trigger, load_trigger, resize_trigger

        return Trigger("box", resize_trigger(load_trigger(self.trigger), self.width))

    def size_problems(self, data: DatasetMetadata) -> Iterator[str]:
        """Yield why the trigger cannot be put on the images of a dataset."""
        try:
            width, height = self.made_trigger.size
        except (OSError, ValueError) as error:
            yield f"trigger: {error}"
            return
        if data.size is not None and (height > data.size[0] or width > data.size[1]):
            yield (
                f"width: the trigger is {width} x {height} px, larger than an image of "
                f"{data.size[1]} x {data.size[0]}; make width smaller"
            )
