"""The toolbox of plugin authors: encoders, heads, averages, queues, losses, training tasks."""

from backbench.nn.backbones import Backbone, BackboneNetwork, build_backbone
from backbench.nn.batch import Batch
from backbench.nn.encoder import Encoder, EncoderSpec, load_encoder, save_encoder
from backbench.nn.losses import (
    align_loss,
    cosine_regression,
    info_nce,
    nt_xent,
    similarity_distillation,
    uniform_loss,
)
from backbench.nn.method import (
    GuardedMethod,
    Progress,
    SSLMethod,
    TrainingContext,
    TrainingTask,
)
from backbench.nn.parts import FeatureQueue, ema_update, frozen_copy, mlp, send
from backbench.nn.ranks import ALONE, Ranks, in_groups

__all__ = [
    "ALONE",
    "Backbone",
    "BackboneNetwork",
    "Batch",
    "Encoder",
    "EncoderSpec",
    "FeatureQueue",
    "GuardedMethod",
    "Progress",
    "Ranks",
    "SSLMethod",
    "TrainingContext",
    "TrainingTask",
    "align_loss",
    "build_backbone",
    "cosine_regression",
    "ema_update",
    "frozen_copy",
    "in_groups",
    "info_nce",
    "load_encoder",
    "mlp",
    "nt_xent",
    "save_encoder",
    "send",
    "similarity_distillation",
    "uniform_loss",
]
