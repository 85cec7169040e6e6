"""Lets the published code run with current libraries and without a GPU; Python imports it itself.

It stands first on ``PYTHONPATH`` of the peer's processes only; ``BACKBENCH_SHIMS`` names what to do.
"""

from __future__ import annotations

import importlib.util
import os
import random  # noqa: TID251 - the published code draws from it
import sys
import types
from typing import Any


def _numpy() -> None:
    import numpy as np

    np.float = float  # type: ignore[attr-defined]  # noqa: NPY001


def _cuda() -> None:
    import torch

    def here(self: Any, *_: Any, **__: Any) -> Any:
        return self

    torch.Tensor.cuda = here  # type: ignore[method-assign]
    torch.nn.Module.cuda = here  # type: ignore[method-assign]
    torch.cuda.set_device = lambda *_: None


def _gloo() -> None:
    import torch
    from torch import distributed

    start = distributed.init_process_group

    def alone(*_: Any, **__: Any) -> None:
        start("gloo", store=distributed.HashStore(), world_size=1, rank=0)

    distributed.init_process_group = alone  # type: ignore[assignment]
    parallel = torch.nn.parallel.DistributedDataParallel

    class Parallel(parallel):  # type: ignore[misc, valid-type]
        def __init__(self, module: Any, device_ids: Any = None, **more: Any) -> None:  # noqa: ARG002
            super().__init__(module, **more)

    torch.nn.parallel.DistributedDataParallel = Parallel  # type: ignore[misc]


def _faiss() -> None:
    import faiss

    faiss.GpuMultipleClonerOptions = types.SimpleNamespace
    faiss.index_cpu_to_all_gpus = lambda index, *_, **__: index


def _show() -> None:
    from PIL import Image

    Image.Image.show = lambda *_, **__: None  # type: ignore[method-assign, assignment]


def _plots() -> None:
    for name in ("matplotlib", "matplotlib.pyplot"):
        if importlib.util.find_spec("matplotlib") is None or name in sys.modules:
            sys.modules.setdefault(name, types.ModuleType(name))
    if importlib.util.find_spec("tqdm") is None:
        module = types.ModuleType("tqdm")
        module.tqdm = lambda items, *_, **__: items  # type: ignore[attr-defined]
        sys.modules["tqdm"] = module


def _seed() -> None:
    random.seed(int(os.environ["BACKBENCH_SEED"]))


_ALL = {
    "numpy": _numpy,
    "cuda": _cuda,
    "gloo": _gloo,
    "faiss": _faiss,
    "show": _show,
    "plots": _plots,
    "seed": _seed,
}

for _name in filter(None, os.environ.get("BACKBENCH_SHIMS", "").split(",")):
    _ALL[_name]()
