"""The toolbox of plugin authors: encoders, heads, averages, queues, losses, training tasks."""

from backbench.nn.backbones import Backbone, build_backbone
from backbench.nn.batch import Batch
from backbench.nn.ema import ema_update, frozen_copy
from backbench.nn.encoder import Encoder, EncoderSpec, load_encoder, save_encoder
from backbench.nn.heads import mlp
from backbench.nn.losses import cosine_regression, info_nce, similarity_distillation
from backbench.nn.method import Progress, SSLMethod, TrainingContext, TrainingTask
from backbench.nn.queue import FeatureQueue

__all__ = [
    "Backbone",
    "Batch",
    "Encoder",
    "EncoderSpec",
    "FeatureQueue",
    "Progress",
    "SSLMethod",
    "TrainingContext",
    "TrainingTask",
    "build_backbone",
    "cosine_regression",
    "ema_update",
    "frozen_copy",
    "info_nce",
    "load_encoder",
    "mlp",
    "save_encoder",
    "similarity_distillation",
]
