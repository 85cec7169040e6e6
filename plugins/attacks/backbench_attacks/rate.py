"""The option ``rate``: how many training images an attack poisons."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator

from backbench.plugin import Field, count_of


class Rate(BaseModel):
    """Number of training images that are poisoned.

    A share's product is cut, not rounded: .29 of 100 images are 29.

    Source: Saha et al. 2022, published code, ``int(poison_injection_rate * number)``.
    Differs: There the product is a binary one: .29 of 100 are 28. All published rates give equal
        numbers in both.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True)

    of: Literal["target_class", "dataset", "count"] = Field(
        description="what value is a share of; with count, value is the number of images"
    )
    value: float = Field(gt=0, description="share in (0, 1], or a whole number of images")

    @model_validator(mode="after")
    def _check_value(self) -> Self:
        if self.of == "count" and self.value != int(self.value):
            raise ValueError(f"value is a number of images, and {self.value:g} is not whole")
        if self.of != "count" and self.value > 1:
            raise ValueError(
                f"value is a share in (0, 1], and {self.value:g} is not; "
                'for a number of images set of = "count"'
            )
        return self

    def count(self, candidates: int, total: int, *, added: bool = False) -> int:
        """Return the number of images to poison, of so many candidates and images in total.

        Args:
            candidates: Images of which the rate is, or may be, a share.
            total: Images of the training set.
            added: Whether poisons are added, so that there may be any number of them.

        Raises:
            ValueError: If it is less than one, or more than there are candidates.
        """
        whole = {"target_class": candidates, "dataset": total, "count": 1}[self.of]
        number = count_of(self.value, whole)
        if number < 1:
            raise ValueError(f"rate: {self.value:g} of {whole} images is less than one image")
        if number > candidates and not added:
            raise ValueError(
                f"rate: {number} images to poison, and only {candidates} may be poisoned"
            )
        return number

    def problem(self, candidates: int, total: int) -> str:
        """Return why :meth:`count` has no number to give; empty if it has."""
        try:
            self.count(candidates, total)
        except ValueError as error:
            return str(error)
        return ""
