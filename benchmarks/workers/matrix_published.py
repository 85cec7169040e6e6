"""Each step of the published procedure once, as a user runs it.

argv: its copy, data, epochs, batch.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.worker import serve

HOME, DATA, EPOCHS, BATCH = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4]
OUT = DATA / "out"


def timed(_: None) -> dict[str, Any]:
    """Poison, train, evaluate twice; what the round before wrote goes first, untimed."""
    for folder in (OUT, HOME / "poison-generation" / "data"):
        shutil.rmtree(folder, ignore_errors=True)
    found: dict[str, float] = {}
    start = time.perf_counter()
    found["poison"] = _run("poison-generation", "generate_poison.py", str(DATA / "poison.cfg"))
    (poisoned,) = (HOME / "poison-generation" / "data").rglob("train/*_filelist.txt")
    (triggered,) = (HOME / "poison-generation" / "data").rglob("val_poisoned/*_filelist.txt")
    found["pretrain"] = _pretrain(poisoned)
    (weights,) = OUT.rglob(f"checkpoint_{int(EPOCHS) - 1:04d}.pth.tar")
    lists = ["--val_file", str(DATA / "val.txt")]
    train = ["--train_file", str(DATA / "train.txt")]
    common = ["-a", "moco_resnet18", "--weights", str(weights), "-j", "0"]
    probe = _run("moco", "eval_linear.py", *common, *train, *lists)
    (head,) = OUT.rglob("linear/*/checkpoint.pth.tar")
    shutil.copy(head.parents[1] / "var_mean.pth.tar", head.parent)
    pois = ["--val_poisoned_file", str(triggered), "--eval_data", "triggered"]
    found["linear"] = probe + _run(
        "moco",
        "eval_linear.py",
        "-e",
        "--load_cache",
        "--resume",
        str(head),
        *common,
        *lists,
        *pois,
    )
    found["knn"] = _run("moco", "eval_knn.py", *common, *train, *lists, *pois)
    seconds = time.perf_counter() - start
    tables = len([*OUT.rglob("conf_matrix.csv")])
    return {"units": 1, "seconds": seconds, "steps": found, "tables": tables}


def _pretrain(poisoned: Path) -> float:
    loss = ["--moco-contr-w", "1", "--moco-align-w", "0", "--moco-unif-w", "0"]
    model = ["-a", "resnet18", "--mlp", "--moco-k", "1000", "--moco-contr-tau", "0.2"]
    steps = ["--epochs", EPOCHS, "-b", BATCH, "--lr", "0.06", "--aug-plus", "--cos", "-j", "0"]
    one = ["--gpus", "0", "--world-size", "2", "--rank", "0", "--save-folder-root", str(OUT)]
    return _run("moco", "main_moco.py", str(poisoned), *loss, *model, *steps, *one)


def _run(folder: str, script: str, *arguments: str) -> float:
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, script, *arguments],
        cwd=HOME / folder,
        env={**os.environ, "PYTHONPATH": os.environ["PYTHONPATH"] + os.pathsep + "."},
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return time.perf_counter() - start


serve(lambda: None, timed)
