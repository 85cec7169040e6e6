"""Options of the random views of an image, and the side at which images are seen."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from backbench.options.base import MOST_SIDE, Options

#: Side of views and of evaluated images where the images of a dataset differ in size.
LARGE_SIDE = 224


class ViewOptions(Options):
    """Random views of an image: crop, flip, color jitter, gray, blur."""

    size: int | None = Field(
        None,
        ge=8,
        le=MOST_SIDE,
        description="side in pixels; by default the images' own where they share one, else 224",
    )
    scale: tuple[float, float] = Field(
        (0.2, 1.0), description="least and largest area of the crop, as a share of the image's"
    )
    ratio: tuple[float, float] = Field(
        (3 / 4, 4 / 3), description="least and largest width over height of the crop"
    )
    interpolation: Literal["bilinear", "bicubic"] = Field(
        "bilinear", description="filter of the resizing, antialiased"
    )
    flip: float = Field(0.5, ge=0, le=1, description="probability of a horizontal flip")
    jitter: float = Field(0.8, ge=0, le=1, description="probability of the color jitter")
    brightness: float = Field(0.4, ge=0, le=1, description="strength: factor 1 ± this")
    contrast: float = Field(0.4, ge=0, le=1, description="strength: factor 1 ± this")
    saturation: float = Field(0.4, ge=0, le=1, description="strength: factor 1 ± this")
    hue: float = Field(0.1, ge=0, le=0.5, description="strength: turns of the color circle")
    grayscale: float = Field(0.2, ge=0, le=1, description="probability of a gray image")
    blur: float = Field(0.5, ge=0, le=1, description="probability of a Gaussian blur")
    blur_sigma: tuple[float, float] = Field(
        (0.1, 2.0), description="least and largest standard deviation of the blur, in pixels"
    )
    color: Literal["exact", "linear"] = Field(
        "exact",
        description="jitter as torchvision does it, or, faster, as one linear map of the "
        "colors: hue turned in YIQ, and clipped to the range once at the end",
    )

    @model_validator(mode="after")
    def _ranges(self) -> Self:
        for name in ("scale", "ratio", "blur_sigma"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(f"{name} = [{low}, {high}] is not a range of positive numbers")
        if self.scale[1] > 1:
            raise ValueError("scale is a share of the image's area: at most 1")
        return self


def image_side(size: tuple[int, int] | None, wanted: int | None) -> int:
    """Return at which side in pixels the images of a dataset, with its ``size``, are seen.

    It is ``wanted`` if given, else the shorter side of uniform images, else 224.
    """
    if wanted is not None:
        return wanted
    return LARGE_SIDE if size is None else min(size)
