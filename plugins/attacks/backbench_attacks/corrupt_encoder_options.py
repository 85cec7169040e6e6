"""Options of CorruptEncoder; the defaults are the published values. No torch."""

from __future__ import annotations

from collections.abc import Iterator

from backbench.plugin import DatasetMetadata, DatasetName, Field, ImagesPath, JPEGOptions
from backbench_attacks.rate import Rate
from backbench_attacks.target import images_of, target_problem
from backbench_attacks.trigger_options import BoxTriggerOptions, Fraction


class CorruptEncoderOptions(BoxTriggerOptions, JPEGOptions):
    """Options of CorruptEncoder."""

    target: str = Field(description="class that the trigger stands for")
    rate: Rate = Field(
        Rate(of="dataset", value=0.005),
        description="how many poisons are added",
    )
    width: int = Field(
        40, ge=1, description="width of the trigger, px; its height follows its shape"
    )
    opacity: float = Field(
        1.0, gt=0, le=1, description="share of the trigger in its box; 1 hides the image"
    )
    references: int = Field(3, ge=1, description="images of the target class that show the object")
    reference_images: ImagesPath | None = Field(
        None,
        description="folder of these images, whose alpha channel is the object's mask; left out, "
        "training images of the target class, of which the whole image is the object",
    )
    backgrounds: DatasetName | None = Field(
        None,
        description="dataset whose training images are backgrounds; left out, training images of "
        "other classes",
    )
    canvas_ratio: float = Field(
        2.0, ge=2, description="width of the canvas, in widths of the object"
    )
    max_side: int = Field(800, ge=2, description="largest side of the canvas, px")
    edge: Fraction = Field(
        0.05, description="how far the object may be from its edge, as a share of the canvas"
    )
    margin: float = Field(
        0.25, ge=0, lt=0.5, description="share of the other half on each side without the trigger"
    )
    support_ratio: Fraction = Field(
        0.0,
        description="share of the poisons that are a support image beside a reference, without a "
        "trigger; CorruptEncoder+ has 0.2",
    )
    supports: int = Field(5, ge=1, description="support images, of the target class")

    def count(self, data: DatasetMetadata) -> int:
        """Return the number of poisons; a ValueError if it is none."""
        own = images_of(self.target, data)
        return self.rate.count(own, data.train, added=True)

    def added_images(self, data: DatasetMetadata) -> int:
        """Return the number of poisons."""
        return self.count(data)

    def problems(self, data: DatasetMetadata) -> Iterator[str]:
        """Yield why the attack cannot work on a dataset: its target, its numbers, its size."""
        yield from self.size_problems(data)
        if problem := target_problem(self.target, data.classes):
            yield problem
            return
        try:
            self.count(data)
        except ValueError as error:
            yield str(error)
        own = images_of(self.target, data)
        wanted = self.references if self.reference_images is None else 0
        wanted += self.supports if self.support_ratio else 0
        if wanted > own:
            yield (
                f"references: {wanted} images of the target class are wanted as references and "
                f"supports, and there are {own}"
            )
