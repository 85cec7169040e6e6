"""Observers: a run in the trackers of experiments that people already use."""

from __future__ import annotations

from collections.abc import Iterable

from backbench.plugin import ObserverInfo, hookimpl
from backbench_observers.tracker_options import MLflowOptions, TensorBoardOptions, WandbOptions


@hookimpl
def register_observers() -> Iterable[ObserverInfo]:
    """Announce ``tensorboard``, ``wandb`` and ``mlflow``; importing this imports none of them."""
    yield ObserverInfo(
        name="tensorboard",
        summary="Curves, results and figures as event files of TensorBoard.",
        target="backbench_observers.tensorboard_files:TensorBoard",
        options=TensorBoardOptions,
        requires={"tensorboard": "backbench[tensorboard]"},
    )
    yield ObserverInfo(
        name="wandb",
        summary="Curves, results and figures as a run of Weights & Biases, offline if asked.",
        target="backbench_observers.wandb_run:Wandb",
        options=WandbOptions,
        requires={"wandb": "backbench[wandb]"},
    )
    yield ObserverInfo(
        name="mlflow",
        summary="Curves, results and figures as runs of MLflow: one a training, below one a run.",
        target="backbench_observers.mlflow_runs:MLflow",
        options=MLflowOptions,
        requires={"mlflow": "backbench[mlflow]"},
    )
