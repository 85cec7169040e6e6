"""Features as peers compute them; arguments: ``published``, its moco/, world; ``lightly``, world.

A list, images from PNG files, float32, in batches of 64, without loader processes.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torchvision import models, transforms

from benchmarks.worker import serve
from benchmarks.world import SPLITS

BATCH = 64


def published(code: Path, folder: Path) -> Any:
    """Return what computes the features of both splits with ``eval_knn.py``."""
    os.chdir(code)
    lists = [
        "--train_file",
        "train.txt",
        "--val_file",
        "val.txt",
        "--val_poisoned_file",
        "triggered.txt",
    ]
    lists = [f"{folder}/{one}" if one.endswith(".txt") else one for one in lists]
    weights = folder / "checkpoints" / "encoder-0" / "moco" / "checkpoint.pth.tar"
    sys.argv = ["eval_knn.py", "-j", "0", "--weights", str(weights), *lists]
    script: Any = importlib.import_module("eval_knn")
    logging.getLogger().setLevel(logging.WARNING)

    def extract() -> list[np.ndarray]:
        loaders = script.get_loaders(BATCH, 0)[:2]
        model = script.get_model(script.args)
        return [script.get_feats(loader, model, 10**9)[0].numpy() for loader in loaders]

    return extract


def lightly(folder: Path) -> Any:
    """Return what computes them with a dataset of lightly, and a loop as in its documentation."""
    from lightly.data import LightlyDataset

    normal = transforms.Normalize(mean=[0.5] * 3, std=[0.25] * 3)
    transform = transforms.Compose([transforms.ToTensor(), normal])
    weights = folder / "checkpoints" / "encoder-0" / "moco" / "checkpoint.pth.tar"
    checkpoint = torch.load(weights, weights_only=True)  # noqa: TID251 - the published format
    prefix = "module.encoder_q."

    def extract() -> list[np.ndarray]:
        model = models.resnet18()
        model.fc = torch.nn.Identity()
        state = {name.removeprefix(prefix): one for name, one in checkpoint["state_dict"].items()}
        model.load_state_dict(state)
        model.eval()
        found = []
        for split in SPLITS[:2]:
            images = LightlyDataset(str(folder / split), transform=transform)
            loader = torch.utils.data.DataLoader(images, batch_size=BATCH)
            parts = []
            with torch.no_grad():
                for samples, _, _ in loader:
                    parts.append(torch.nn.functional.normalize(model(samples).flatten(1), dim=1))
            found.append(torch.cat(parts).numpy())
        return found

    return extract


def main() -> None:
    """Serve."""
    torch.set_num_threads(1)
    which, *paths = sys.argv[1:]
    folder = Path(paths[-1])
    extract = published(Path(paths[0]), folder) if which == "published" else lightly(folder)

    def timed(_: None) -> dict[str, Any]:
        found = extract()
        file = folder / f"{which}.npz"
        np.savez(file, train=found[0], val=found[1])
        return {"units": sum(map(len, found)), "file": str(file)}

    serve(lambda: None, timed)


if __name__ == "__main__":
    main()
