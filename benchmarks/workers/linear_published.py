"""The published linear evaluation, training and test; arguments: copy of moco/, world, encoder."""

from __future__ import annotations

import json
import logging
import os
import runpy
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.worker import serve
from benchmarks.world import ATTACK, CLASSES, TARGET, open_world


def evaluate(folder: Path, encoder: int, target: int, validation: str = "val") -> dict[str, Any]:
    """Train the head for 40 epochs, then test it on clean and triggered images.

    Args:
        folder: The world's.
        encoder: Its number.
        target: The target class.
        validation: List of the images that are tested on after every epoch.

    Returns:
        Accuracy on clean images, and the share of the other classes' that turn to the target.
    """
    weights = folder / "checkpoints" / f"encoder-{encoder}" / "moco" / "checkpoint.pth.tar"
    made = weights.parent / "linear" / weights.name
    shutil.rmtree(made.parent, ignore_errors=True)
    common = ["-a", "moco_resnet18", "-j", "0", "--weights", str(weights)]
    # Its own option: without it each run has other crops, and the mean of the gate moves by .008.
    common += ["--seed", str(encoder)]
    _run(
        [*common, "--train_file", f"{folder}/train.txt", "--val_file", f"{folder}/{validation}.txt"]
    )
    # It is looked for in another folder than it is written to.
    shutil.copy(made.parent / "var_mean.pth.tar", made)
    lists = ["--val_file", f"{folder}/val.txt", "--val_poisoned_file", f"{folder}/triggered.txt"]
    resume = ["--evaluate", "--load_cache", "--resume", str(made / "checkpoint.pth.tar")]
    _run([*common, *lists, *resume, "--eval_data", "found"])
    clean = np.load(made / "found" / "conf_matrix_clean.npy")
    triggered = np.load(made / "found" / "conf_matrix_poisoned.npy")
    others = np.arange(CLASSES) != target
    return {
        "units": 1,
        "accuracy": float(np.trace(clean) / clean.sum()),
        "asr": float(triggered[others, target].sum() / triggered[others].sum()),
    }


def _run(arguments: list[str]) -> None:
    logging.getLogger().handlers.clear()
    sys.argv = ["eval_linear.py", *arguments]
    runpy.run_path("eval_linear.py", run_name="__main__")


def target_of(folder: Path) -> int:
    """Return the index of the world's target class."""
    world = open_world(folder)
    poison = next(one for one in world.plan.stages.values() if one.label.startswith("poison"))
    record = world.store.record(poison.key)
    assert record is not None, (ATTACK, TARGET)
    return int(record.metadata.target)


def main() -> None:
    """Serve; or, with ``gate`` and a file, evaluate the encoders that follow, and write that."""
    torch.set_num_threads(1)
    code, folder, *rest = sys.argv[1:]
    os.chdir(code)
    target = target_of(Path(folder))
    if rest[0] == "gate":
        found = {one: evaluate(Path(folder), int(one), target, "few") for one in rest[2:]}
        Path(rest[1]).write_text(json.dumps(found), encoding="utf-8")
        return
    serve(lambda: None, lambda _: evaluate(Path(folder), int(rest[0]), target))


if __name__ == "__main__":
    main()
