"""Options of the trackers. No tracker is imported here."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from backbench.plugin import Field, LocalPath, Options


class TensorBoardOptions(Options):
    """Options of ``tensorboard``."""

    folder: LocalPath = Field(
        Path("runs"),
        validate_default=True,
        description="folder of the event files: tensorboard --logdir FOLDER",
    )


class WandbOptions(Options):
    """Options of ``wandb``; what is left out is as wandb's own environment variables have it."""

    project: str = Field("backbench", min_length=1, description="project of the run")
    entity: str | None = Field(None, description="user or team; left out: your default one")
    mode: Literal["online", "offline"] | None = Field(
        None, description="offline keeps the run on disk for `wandb sync`; left out: WANDB_MODE"
    )
    folder: LocalPath | None = Field(
        None, description="folder that gets the folder wandb; left out: WANDB_DIR, else here"
    )


class MLflowOptions(Options):
    """Options of ``mlflow``; what is left out is as MLflow's own environment variables have it."""

    tracking_uri: str | None = Field(
        None, description="server or local store; left out: MLFLOW_TRACKING_URI, else here"
    )
    experiment: str | None = Field(
        None, min_length=1, description="name of the experiment; left out: that of the benchmark"
    )
