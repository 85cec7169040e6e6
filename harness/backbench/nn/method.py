"""Interface of all that the training loop trains: SSL methods, and defenses that train."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from backbench.nn.batch import Batch
from backbench.nn.encoder import Encoder, EncoderSpec
from backbench.nn.ranks import ALONE, Ranks
from backbench.options.training import SSLOptions, TrainingOptions


@dataclass(frozen=True, slots=True)
class TrainingContext:
    """Metadata of a training, given to a task besides its options.

    Args:
        images: Number of training images.
        image_size: Side in pixels of views and of evaluated images.
        steps_per_epoch: Number of batches in an epoch.
        seed: Seed for draws of the task's own; torch's global generator is seeded as well, and
            is in the same state on all ranks.
        ranks: The processes that train the task together.
    """

    images: int
    image_size: int
    steps_per_epoch: int
    seed: int
    ranks: Ranks = ALONE


@dataclass(frozen=True, slots=True)
class Progress:
    """Position of the training after a step.

    Args:
        step: Number of the step, from 0, over the whole training; ``steps`` is how many.
        epoch: Number of the epoch, from 0; ``epochs`` is how many.
    """

    step: int
    epoch: int
    steps: int
    epochs: int


class TrainingTask(nn.Module, ABC):
    """Something that the training loop can train.

    The loop does, at each step::

        views = task.views(batch)            # no gradients
        loss = task.training_loss(views)     # under autocast
        loss.backward(); optimizer.step()
        task.after_step(progress)            # no gradients

    Where several processes train together (``context.ranks``), each of them does so: ``batch`` is
    the rank's own slice, the loss is the mean over that slice, and gradients are averaged over
    the ranks before the step.
    """

    #: The encoder that is trained, and monitored meanwhile.
    encoder: Encoder

    def __init__(self, options: TrainingOptions, context: TrainingContext) -> None:
        super().__init__()
        self.training_options = options
        self.context = context

    @abstractmethod
    def views(self, batch: Batch) -> Any:
        """Make what :meth:`training_loss` takes; the same for the same images and epoch.

        Draw from the batch's ``seed``, ``epoch`` and ``indices``: all batches have one seed.
        """

    @abstractmethod
    def training_loss(self, views: Any) -> Tensor:
        """Return the loss to minimize, a scalar."""

    def after_step(self, progress: Progress) -> None:
        """Do what follows each step of the optimizer: averages, queues."""

    def param_groups(self) -> Iterable[dict[str, Any]]:
        """Return the optimizer's parameter groups: what is decayed, and what is not."""
        decay = self.training_options.optimizer.weight_decay
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        match self.training_options.optimizer.decay:
            case "all":
                free = set()
            case "weights":
                free = {parameter for parameter in trained if parameter.ndim <= 1}
            case "not-bn-or-bias":
                named = self.named_parameters()
                free = {one for name, one in named if "bn" in name or name.endswith("bias")}
        groups = [{"params": [one for one in trained if one not in free], "weight_decay": decay}]
        if free:
            kept = [one for one in trained if one in free]
            groups.append({"params": kept, "weight_decay": 0.0})
        return groups


class SSLMethod(TrainingTask):
    """A self-supervised method: a task that trains a fresh encoder.

    Example::

        # my_plugin/simclr.py
        import torch
        import torch.nn.functional as F
        from backbench.nn import in_groups, mlp
        from backbench.plugin import SSLMethod, random_view

        class SimCLR(SSLMethod):
            def __init__(self, options, context):
                super().__init__(options, context)
                self.options = options
                self.projector = mlp(self.encoder.feature_dim, 128, 64)

            def views(self, batch):
                side = self.context.image_size
                return [random_view(batch, self.options.views, side, i) for i in (0, 1)]

            def training_loss(self, views):
                z1, z2 = map(self.embed, views)  # (B, C) each
                z = torch.cat([z1, z2])  # (2B, C)
                logits = z @ z.T / self.options.temperature  # (2B, 2B)
                logits.fill_diagonal_(float("-inf"))  # a view is no partner of itself
                partner = torch.arange(len(z), device=z.device).roll(len(z1))
                return F.cross_entropy(logits, partner)

            def embed(self, images):
                h = in_groups(self.encoder, images, self.norm_groups)  # (B / ranks, D)
                h = self.context.ranks.gather(h)  # (B, D): the loss compares all images
                return F.normalize(self.projector(h).float(), dim=1)
    """

    def __init__(self, options: SSLOptions, context: TrainingContext) -> None:
        super().__init__(options, context)
        #: Parts of the rank's own slice that batch norm sees apart, for :func:`in_groups`.
        self.norm_groups = options.norm_groups // context.ranks.size
        backbone = options.backbone.model_dump(mode="json")
        spec = EncoderSpec(backbone, context.image_size, options.mean, options.std)
        self.encoder = Encoder(spec)


class GuardedMethod(SSLMethod):
    """A method that a defense of the training has wrapped; it does what the method does.

    Derive from it, override :meth:`views`, :meth:`training_loss` or :meth:`after_step`, and call
    those of ``self.method`` in them. Parameters of its own are trained with the method's.

    Args:
        method: The method that is wrapped.
    """

    def __init__(self, method: SSLMethod) -> None:
        nn.Module.__init__(self)  # a second encoder would be built otherwise
        self.training_options = method.training_options
        self.context = method.context
        self.norm_groups = method.norm_groups
        self.method = method

    @property
    def encoder(self) -> Encoder:  # type: ignore[override]
        """The method's encoder."""
        return self.method.encoder

    def views(self, batch: Batch) -> Any:
        """Return the method's views."""
        return self.method.views(batch)

    def training_loss(self, views: Any) -> Tensor:
        """Return the method's loss."""
        return self.method.training_loss(views)

    def after_step(self, progress: Progress) -> None:
        """Do what the method does after a step."""
        self.method.after_step(progress)

    def param_groups(self) -> Iterable[dict[str, Any]]:
        """Return the method's groups, and a group of the parameters that it does not have."""
        groups = [dict(group) for group in self.method.param_groups()]
        theirs = {parameter for group in groups for parameter in group["params"]}
        own = [one for one in self.parameters() if one.requires_grad and one not in theirs]
        decay = self.training_options.optimizer.weight_decay
        return [*groups, {"params": own, "weight_decay": decay}] if own else groups
