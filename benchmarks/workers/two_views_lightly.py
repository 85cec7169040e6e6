"""SimCLR or SimSiam with lightly's parts; arguments: the method, then those of ``moco_peer``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch
from lightly.data import LightlyDataset
from lightly.loss import NegativeCosineSimilarity, NTXentLoss
from lightly.models.modules import (
    SimCLRProjectionHead,
    SimSiamPredictionHead,
    SimSiamProjectionHead,
)
from lightly.transforms import SimCLRTransform, SimSiamTransform
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.workers import moco_common as common
from benchmarks.workers.moco_peer import Free, folder_of, run

METHOD: Final = sys.argv.pop(1)


def images(scratch: Path, case: common.Case) -> Dataset[Any]:
    """Return its dataset, which reads the files of a folder, with its views."""
    views = SimCLRTransform if METHOD == "simclr" else SimSiamTransform
    made: Dataset[Any] = LightlyDataset(
        str(folder_of(scratch, case.side)), transform=views(input_size=case.side)
    )
    return made


class SimCLR(nn.Module):
    """The model and the loss of lightly's documentation."""

    def __init__(self, backbone: nn.Module, width: int) -> None:
        super().__init__()
        self.backbone, self.head = backbone, SimCLRProjectionHead(width, width, common.DIM)
        self.criterion = NTXentLoss(temperature=0.1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the projections, (B, 128)."""
        projected: Tensor = self.head(self.backbone(x))
        return projected

    def loss(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the loss of the projections of two views."""
        found: Tensor = self.criterion(first.float(), second.float())
        return found


class SimSiam(nn.Module):
    """The model and the loss of lightly's documentation."""

    def __init__(self, backbone: nn.Module, width: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.projection = SimSiamProjectionHead(width, 2048, 2048)
        self.prediction = SimSiamPredictionHead(2048, 512, 2048)
        self.criterion = NegativeCosineSimilarity()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the projections, whose gradient is stopped, and the predictions."""
        z = self.projection(self.backbone(x))
        return z.detach(), self.prediction(z)

    def loss(self, first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> Tensor:
        """Return the loss of both views."""
        (z1, p1), (z2, p2) = first, second
        pairs = (z1.float(), p2.float()), (z2.float(), p1.float())
        return 0.5 * sum((self.criterion(z, p) for z, p in pairs), torch.zeros(()))


def build(_: Path, case: common.Case, flags: str) -> Callable[[DataLoader[Any]], dict[str, Any]]:
    """Build a model from lightly's parts, and the loop of its documentation."""
    make = SimCLR if METHOD == "simclr" else SimSiam
    model = make(common.network(case), 8 * case.width)
    optimizer = torch.optim.SGD(model.parameters(), 0.06, momentum=0.9, weight_decay=1e-4)
    shown = Free(model) if flags == "free" else model

    def train(batches: DataLoader[Any]) -> dict[str, Any]:
        loss = torch.zeros(())
        for (first, second), _, _ in batches:
            loss = model.loss(shown(first), shown(second))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return {"loss": float(loss.detach()), "weights": common.weights(model)}

    return train


if __name__ == "__main__":
    run(images, build)
