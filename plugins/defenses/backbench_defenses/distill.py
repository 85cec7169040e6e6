"""Distillation: what a trigger does to the teacher, the student never sees."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from backbench.nn import FeatureQueue, ema_update, frozen_copy, similarity_distillation
from backbench.plugin import (
    Batch,
    Defense,
    DefenseContext,
    Encoder,
    Progress,
    TrainingContext,
    TrainingTask,
    random_view,
)
from backbench_defenses.defense_options import DistillOptions
from backbench_defenses.repairing import repaired


class Distill(Defense):
    """Teaches a fresh encoder of the same architecture on trusted images.

    Source: Saha et al. 2022, section 5 (the defense); Abbasi Koohpayegani et al. 2020, CompRess,
        and its code, train_student.py (the numbers).
    Differs: the paper does not state how long its queue was for so few images; ours is never
        longer than the number of clean images.
    """

    options: DistillOptions

    def repair(self, encoder: Encoder, context: DefenseContext) -> Encoder:
        """Return the student; see :meth:`backbench.plugin.Defense.repair`."""
        images = context.clean(self.options.clean_fraction).images

        def build(training: TrainingContext) -> Distillation:
            return Distillation(encoder, self.options, training)

        return repaired(build, self.options, images, encoder, context)


class Distillation(TrainingTask):
    """Teach the student which clean images are alike to the teacher.

    The similarities are those of an image to K anchors: the images before it, which two queues
    hold as the teacher and as an average of the student embed them.
    """

    def __init__(self, teacher: Encoder, options: DistillOptions, context: TrainingContext) -> None:
        super().__init__(options, context)
        self.options = options
        self.teacher = frozen_copy(teacher)
        self.encoder = Encoder(teacher.spec)
        self.average = frozen_copy(self.encoder)
        length = queue_length(options.queue, context.images, options.batch_size)
        self.teacher_queue = FeatureQueue(length, teacher.feature_dim)
        self.student_queue = FeatureQueue(length, teacher.feature_dim)
        self._new: tuple[Tensor, Tensor] | None = None

    def train(self, mode: bool = True) -> Distillation:  # noqa: FBT001, FBT002 - torch's signature
        """Set the mode; the teacher's batch norms always use their running statistics."""
        super().train(mode)
        self.teacher.eval()
        return self

    def views(self, batch: Batch) -> Tensor:
        """Return one view, (B, 3, S, S), which all three networks see."""
        return random_view(batch, self.options.views, self.context.image_size, 0)

    def training_loss(self, views: Tensor) -> Tensor:
        """Return the divergence of the student's similarities from the teacher's."""
        with torch.no_grad():
            teacher = F.normalize(self.teacher(views), dim=1)  # (B, D)
            average = F.normalize(self.average(views), dim=1)  # (B, D)
        student = F.normalize(self.encoder(views), dim=1)  # (B, D)
        self._new = teacher, average
        return similarity_distillation(
            student,
            teacher,
            self.student_queue.features,  # (K, D)
            self.teacher_queue.features,  # (K, D)
            self.options.temperature,
        )

    def after_step(self, progress: Progress) -> None:  # noqa: ARG002 - the same at each step
        """Move the student's average, and put the new features into the queues."""
        ema_update(self.average, self.encoder, self.options.momentum)
        if self._new is not None:
            teacher, average = self._new
            self.teacher_queue.push(teacher)
            self.student_queue.push(average)


def queue_length(wanted: int, images: int, batch_size: int) -> int:
    """Return the length of the queues: whole batches, no more than wanted or than images."""
    return max(1, min(wanted, images) // batch_size) * batch_size
