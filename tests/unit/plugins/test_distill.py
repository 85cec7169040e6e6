from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import backbench_defenses
from backbench.images import ArrayImages, Subset
from backbench.nn import Encoder, EncoderSpec, Progress, TrainingContext, similarity_distillation
from backbench.plugin import CleanImages, DefenseContext
from backbench.views.batches import UniformBatch
from backbench_defenses.defense_options import DistillOptions
from backbench_defenses.distill import Distill, Distillation, queue_length

INFO, *_ = backbench_defenses.register_defenses()
SMALL = INFO.presets["small"]


@pytest.fixture
def teacher() -> Encoder:
    backbone = {"name": "tiny-resnet", "widths": [8, 16], "strides": [2, 2], "stem_width": 8}
    with torch.random.fork_rng():
        torch.manual_seed(7)
        encoder = Encoder(EncoderSpec(backbone, 32, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)))
        encoder(torch.rand(16, 3, 32, 32))
    return encoder.eval()


def options(**given: Any) -> DistillOptions:
    small = {"epochs": 6, "batch_size": 8, "queue": 16, "clean_fraction": 0.5}
    return DistillOptions.model_validate(SMALL | small | given)


def task(teacher: Encoder, **given: Any) -> Distillation:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        context = TrainingContext(images=24, image_size=32, steps_per_epoch=3, seed=0)
        return Distillation(teacher, options(**given), context)


def repair(teacher: Encoder, images: ArrayImages, seed: int = 0) -> tuple[Encoder, list[Any]]:
    asked: list[Any] = []

    def clean(fraction: float) -> CleanImages:
        asked.append(fraction)
        return CleanImages(Subset(images, np.arange(int(fraction * len(images)))), fraction)

    context = DefenseContext(
        seed=seed,
        device="cpu",
        clean=clean,
        progress=lambda done, total, values: asked.append(dict(values)) if values else None,
    )
    return Distill(options()).repair(teacher, context), asked


def test_the_student_learns_on_clean_images(teacher: Encoder, small_images: ArrayImages):
    before = {key: value.clone() for key, value in teacher.state_dict().items()}
    student, asked = repair(teacher, small_images)
    assert asked[0] == 0.5
    assert asked[-1]["loss"] < asked[1]["loss"]
    assert student.spec == teacher.spec
    assert student is not teacher
    assert all(torch.equal(value, before[key]) for key, value in teacher.state_dict().items())
    again, _ = repair(teacher, small_images)
    for key, value in student.state_dict().items():
        assert torch.equal(value, again.state_dict()[key])
        if key.endswith("conv1.weight"):
            assert not torch.allclose(value, before[key])


def test_one_step(teacher: Encoder, small_images: ArrayImages):
    distillation = task(teacher, momentum=0.75).train()
    assert not distillation.teacher.training
    assert distillation.average.training
    indices = np.arange(8)
    pixels = torch.tensor(small_images.pixels[:8])
    views = distillation.views(UniformBatch(pixels, indices, epoch=0, seed=0))
    queues = (distillation.student_queue, distillation.teacher_queue)
    anchors = [queue.features.clone() for queue in queues]
    loss = distillation.training_loss(views)
    with torch.no_grad():
        taught = F.normalize(teacher(views), dim=1)
        learnt = F.normalize(distillation.encoder(views), dim=1)
        averaged = F.normalize(distillation.average(views), dim=1)
    expected = similarity_distillation(learnt, taught, *anchors, 0.04)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-3)

    loss.backward()
    trained = {id(p) for group in distillation.param_groups() for p in group["params"]}
    assert trained == {id(p) for p in distillation.encoder.parameters()}
    start = [p.detach().clone() for p in distillation.average.parameters()]
    with torch.no_grad():
        for parameter in distillation.encoder.parameters():
            parameter.add_(1)
    distillation.after_step(Progress(0, 0, 18, 6))
    assert torch.allclose(distillation.teacher_queue.features[:8], taught, atol=1e-5)
    assert torch.allclose(distillation.student_queue.features[:8], averaged, atol=1e-5)
    assert torch.equal(distillation.student_queue.features[8:], anchors[0][8:])
    for before, after in zip(start, distillation.average.parameters(), strict=True):
        assert torch.allclose(after, before + 0.25, atol=1e-6)


@pytest.mark.parametrize(
    ("wanted", "images", "batch_size", "expected"),
    [(128_000, 6334, 256, 6144), (256, 3000, 64, 256), (250, 3000, 64, 192), (10, 3000, 64, 64)],
)
def test_length_of_the_queues(wanted: int, images: int, batch_size: int, expected: int):
    assert queue_length(wanted, images, batch_size) == expected
