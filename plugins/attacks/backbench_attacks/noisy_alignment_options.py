"""Options of Noisy Alignment; the defaults are the published values. No torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from backbench.plugin import DatasetMetadata, Field, JPEGOptions
from backbench_attacks.rate import Rate
from backbench_attacks.target import images_of, target_problem
from backbench_attacks.trigger_options import BoxTriggerOptions


class NoisyAlignmentOptions(BoxTriggerOptions, JPEGOptions):
    """Options of Noisy Alignment."""

    target: str = Field(description="class that the trigger stands for")
    rate: Rate = Field(
        Rate(of="dataset", value=0.005),
        description="how many poisons are made; with replace, at most as many as the target class "
        "has images",
    )
    references: int | None = Field(
        None,
        ge=1,
        description="images of the target class that the poisons are made of; left out, one each",
    )
    shadows: int | None = Field(
        None, ge=1, description="images of other classes, the same; left out, one each"
    )
    replace: bool = Field(
        default=False,
        description="each poison takes the place of its reference; otherwise poisons are added",
    )
    canvas: Literal["double", "squeezed"] = Field(
        "double",
        description="double: two images beside each other, at their size; squeezed: both halves "
        "are shrunk, so that the poison has the size of its reference",
    )

    def count(self, data: DatasetMetadata) -> int:
        """Return the number of poisons; a ValueError if it is none, or more than there can be."""
        own = images_of(self.target, data)
        return self.rate.count(own, data.train, added=not self.replace)

    def added_images(self, data: DatasetMetadata) -> int:
        """Return the number of poisons, if they are added."""
        return 0 if self.replace else self.count(data)

    def problems(self, data: DatasetMetadata) -> Iterator[str]:
        """Yield why the attack cannot work on a dataset: its target, its numbers, its size."""
        yield from self.size_problems(data)
        if problem := target_problem(self.target, data.classes):
            yield problem
            return
        try:
            poisons = self.count(data)
        except ValueError as error:
            yield str(error)
            return
        own = images_of(self.target, data)
        for name, wanted, there in (
            ("references", self.references, own),
            ("shadows", self.shadows, data.train - own),
        ):
            if wanted is not None and wanted > there:
                yield f"{name}: {wanted} images are wanted, and there are {there}"
        if self.replace and self.references is not None and self.references < poisons:
            yield (
                f"replace: {poisons} poisons cannot take the places of {self.references} "
                "references; leave references out"
            )
