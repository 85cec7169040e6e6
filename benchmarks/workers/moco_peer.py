"""What the two peers of pretraining share: images in files, and their settings.

Arguments: scratch folder, case, steps of a section, and settings as ``none-2-1``: flags, threads,
workers that load. Of several settings a section does all in turn, and says the rate of each.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Self

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset

from benchmarks.worker import serve
from benchmarks.workers import moco_common as common

#: Of the JPEG files, of 100.
QUALITY = 95


@dataclass(frozen=True, slots=True)
class Use:
    """How a peer is run.

    Args:
        flags: ``none``, or ``free``: bfloat16 autocast and channels-last.
        threads: Of torch.
        workers: Processes that load.
    """

    flags: str
    threads: int
    workers: int

    @classmethod
    def of(cls, text: str) -> Self:
        """Read an argument."""
        flags, threads, workers = text.split("-")
        return cls(flags, int(threads), int(workers))

    def __str__(self) -> str:
        return f"{self.flags}-{self.threads}-{self.workers}"


def folder_of(scratch: Path, side: int) -> Path:
    """Return the folder of the JPEG files of a size."""
    return scratch / f"jpeg-{side}"


def write_files(scratch: Path, side: int, count: int = common.IMAGES) -> None:
    """Write so many images as JPEG files, and the list that the published code reads."""
    folder = folder_of(scratch, side)
    (folder / "0").mkdir(parents=True, exist_ok=True)
    lines = []
    for number, image in enumerate(common.pixels(side, count)):
        path = folder / "0" / f"{number:05d}.jpg"
        Image.fromarray(image).save(path, quality=QUALITY)
        lines.append(f"{path} 0\n")
    folder.with_suffix(".txt").write_text("".join(lines), encoding="utf-8")


class Free(nn.Module):
    """A model with the two flags that any user can set: bfloat16 autocast and channels-last."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, *images: Tensor, **named: Tensor) -> Any:
        """Call the model under autocast."""
        layout = torch.channels_last
        with torch.autocast(common.DEVICE.type, torch.bfloat16):
            return self.model(
                *(one.to(memory_format=layout) for one in images),
                **{name: one.to(memory_format=layout) for name, one in named.items()},
            )


def run(
    images: Callable[[Path, common.Case], Dataset[Any]],
    build: Callable[[Path, common.Case, str], Callable[[DataLoader[Any]], dict[str, Any]]],
) -> None:
    """Serve a peer.

    Args:
        images: Makes the dataset of the files of a scratch folder, with its views.
        build: Makes a model for flags; returns what trains it on a loader's batches, once.
    """
    scratch, case = Path(sys.argv[1]), common.CASES[sys.argv[2]]
    steps, uses = int(sys.argv[3]), [Use.of(one) for one in sys.argv[4:]]
    data = images(scratch, case)

    @cache
    def trainer(flags: str) -> Callable[[DataLoader[Any]], dict[str, Any]]:
        return build(scratch, case, flags)

    def section(use: Use, loader: DataLoader[Any]) -> dict[str, Any]:
        torch.set_num_threads(use.threads)
        return trainer(use.flags)(loader)

    def prepare() -> dict[Use, DataLoader[Any]]:
        """Build, and warm up: a step, and a section where there is one setting."""
        for use in {one.flags: one for one in uses}.values():
            section(use, _loader(data, case.batch, 1, 0))
        loaders = {use: _loader(data, case.batch, steps, use.workers) for use in uses}
        if len(uses) == 1:
            section(uses[0], loaders[uses[0]])
        return loaders

    def timed(loaders: dict[Use, DataLoader[Any]]) -> dict[str, Any]:
        said: dict[str, Any] = {}
        rates = {}
        for use, loader in loaders.items():
            start = time.perf_counter()
            said = section(use, loader)
            rates[str(use)] = steps * case.batch / (time.perf_counter() - start)
        return {"units": len(uses) * steps * case.batch, "rates": rates, **said}

    serve(prepare, timed)


def _loader(data: Dataset[Any], batch: int, steps: int, workers: int) -> DataLoader[Any]:
    """Return a loader that ends with the section, so that nothing is fetched between two."""
    return DataLoader(
        Subset(data, range(steps * batch)),
        batch_size=batch,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=common.DEVICE.type == "cuda",
    )
