"""Lets the published code run with current libraries, without a GPU; Python imports it itself.

It stands first on ``PYTHONPATH`` of the peer's processes only; ``BACKBENCH_SHIMS`` says what to do.
"""

from __future__ import annotations

import importlib.util
import os
import random  # noqa: TID251 - the published code draws from it
import sys
import types
from importlib import import_module
from typing import Any


def _numpy() -> None:
    numpy: Any = import_module("numpy")
    numpy.float = float


def _cuda() -> None:
    torch: Any = import_module("torch")

    def here(self: Any, *_: Any, **__: Any) -> Any:
        return self

    torch.Tensor.cuda = here
    torch.nn.Module.cuda = here
    torch.cuda.set_device = lambda *_: None


def _gloo() -> None:
    torch: Any = import_module("torch")
    distributed: Any = import_module("torch.distributed")
    start = distributed.init_process_group

    def alone(*_: Any, **__: Any) -> None:
        start("gloo", store=distributed.HashStore(), world_size=1, rank=0)

    distributed.init_process_group = alone
    parallel = torch.nn.parallel.DistributedDataParallel

    def on_the_cpu(module: Any, device_ids: Any = None, **more: Any) -> Any:  # noqa: ARG001
        return parallel(module, **more)

    torch.nn.parallel.DistributedDataParallel = on_the_cpu


def _faiss() -> None:
    faiss: Any = import_module("faiss")
    faiss.GpuMultipleClonerOptions = types.SimpleNamespace
    faiss.index_cpu_to_all_gpus = lambda index, *_, **__: index


def _show() -> None:
    image: Any = import_module("PIL.Image")
    image.Image.show = lambda *_, **__: None


def _plots() -> None:
    if importlib.util.find_spec("matplotlib") is None:
        for name in ("matplotlib", "matplotlib.pyplot"):
            sys.modules[name] = types.ModuleType(name)
    if importlib.util.find_spec("tqdm") is None:
        module: Any = types.ModuleType("tqdm")
        module.tqdm = lambda items, *_, **__: items
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
