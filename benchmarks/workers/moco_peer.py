"""What the two peers of pretraining share: pictures in memory, PIL's views, torch's loader."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.workers import moco_common as common


class Pictures(Dataset[Any]):
    """Pictures in memory, so that no peer waits for a disk.

    Args:
        case: Of what size, and how many: those of one section.
        views: Makes the two views of a PIL image.
    """

    def __init__(self, case: common.Case, views: Callable[[Image.Image], Any]) -> None:
        self._pixels = common.pixels(case.side, case.steps * common.BATCH)
        self._views = views

    def __len__(self) -> int:
        return len(self._pixels)

    def __getitem__(self, index: int) -> Any:
        return "", self._views(Image.fromarray(self._pixels[index])), 0, index


def loader(pictures: Pictures, workers: int) -> DataLoader[Any]:
    """Return a loader that ends with the section, so that nothing is fetched between two."""
    return DataLoader(
        pictures,
        batch_size=common.BATCH,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
    )


class Free(nn.Module):
    """A model with the two flags that any user can set: bfloat16 autocast and channels-last."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, *images: Tensor, **named: Tensor) -> Any:
        """Call the model under autocast."""
        layout = torch.channels_last
        with torch.autocast("cpu", torch.bfloat16):
            return self.model(
                *(one.to(memory_format=layout) for one in images),
                **{name: one.to(memory_format=layout) for name, one in named.items()},
            )
