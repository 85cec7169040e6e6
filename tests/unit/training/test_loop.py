from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from tests.unit.conftest import RaggedImages
from torch import Tensor, nn

from backbench.errors import StageError
from backbench.images import ArrayImages
from backbench.nn import Batch, Encoder, SSLMethod, TrainingContext
from backbench.options.training import SSLOptions, ViewTrainingOptions
from backbench.options.views import ViewOptions
from backbench.training.loop import TrainingRun, epoch_order, pretrain
from backbench.training.optimizers import build_optimizer
from backbench.views.views import random_view


class ToyOptions(SSLOptions, ViewTrainingOptions):
    views: ViewOptions = ViewOptions(blur=0.0)
    poison_loss: bool = False


class Toy(SSLMethod):
    """Learns to say the mean color."""

    def __init__(self, options: ToyOptions, context: TrainingContext) -> None:
        super().__init__(options, context)
        self.options = options
        self.head = nn.Linear(self.encoder.feature_dim, 3)
        self.steps: list[int] = []
        self.batches: list[Batch] = []

    def views(self, batch: Batch) -> Tensor:
        assert not torch.is_grad_enabled()
        self.batches.append(batch)
        return random_view(batch, self.options.views, self.context.image_size, 0)

    def training_loss(self, views: Tensor) -> Tensor:
        loss = (self.head(self.encoder(views)).float() - views.mean((2, 3))).square().mean()
        return loss * math.nan if self.options.poison_loss else loss

    def after_step(self, progress: Any) -> None:
        self.steps.append(progress.step)


def options(**given: Any) -> ToyOptions:
    small = {
        "backbone": {"name": "tiny-resnet", "widths": (8, 8), "strides": (1, 2), "stem_width": 8},
        "epochs": 4,
        "batch_size": 10,
        "optimizer": {"lr": 0.05},
    }
    return ToyOptions.model_validate(small | given)


def run(
    images: Any, chosen: ToyOptions | None = None, seed: int = 0, calls: list[Any] | None = None
):
    def progress(done: int, total: int, values: Mapping[str, float]) -> None:
        if calls is not None:
            calls.append((done, total, dict(values)))

    return pretrain(Toy, TrainingRun(chosen or options(), images, seed, "cpu", progress))


def weights(encoder: nn.Module) -> Tensor:
    return torch.cat([p.flatten().double() for p in encoder.state_dict().values()])


def test_the_same_seed_gives_the_same_weights(small_images: ArrayImages):
    first, history = run(small_images)
    second, again = run(small_images)
    assert torch.equal(weights(first), weights(second))
    assert history == again
    assert not torch.equal(weights(first), weights(run(small_images, seed=1)[0]))


def test_the_global_generator_is_left_alone(small_images: ArrayImages):
    before = torch.get_rng_state()
    run(small_images)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_global_generator_does_not_count(small_images: ArrayImages):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        first, _ = run(small_images)
        torch.manual_seed(2)
        second, _ = run(small_images)
    assert torch.equal(weights(first), weights(second))


def test_history_and_progress(small_images: ArrayImages):
    calls: list[Any] = []
    encoder, history = run(small_images, options(knn_evaluations=2), calls=calls)
    assert [record["epoch"] for record in history] == [0, 1, 2, 3]
    assert history[-1]["loss"] < history[0]["loss"]
    assert history[0]["lr"] == pytest.approx(0.05)
    assert all(0 <= record["feature_spread"] <= 1.1 for record in history)
    assert ["knn_accuracy" in record for record in history] == [False, True, False, True]
    ends = [call for call in calls if call[2]]
    assert [call[:2] for call in ends] == [(4, 16), (8, 16), (12, 16), (16, 16)]
    assert ends[-1][2] == history[-1]
    assert not encoder.training
    assert encoder.spec.image_size == 32


def test_no_neighbors_without_labels(small_images: ArrayImages):
    unknown = np.full(48, -1)
    hidden = ArrayImages(small_images.pixels, unknown, small_images.sources)
    first, history = run(hidden)
    assert not any("knn_accuracy" in record for record in history)
    assert torch.equal(weights(first), weights(run(small_images)[0]))


def test_views_and_steps_of_the_loop(small_images: ArrayImages):
    tasks: list[Toy] = []

    class Seen(Toy):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            tasks.append(self)

    pretrain(Seen, TrainingRun(options(), small_images, 0, "cpu"))
    (task,) = tasks
    assert task.steps == list(range(16))
    assert task.context.steps_per_epoch == 4
    assert task.context.images == 48
    for epoch in range(4):
        seen = np.concatenate([b.indices for b in task.batches[4 * epoch : 4 * epoch + 4]])
        assert len(np.unique(seen)) == 40
        assert np.array_equal(seen, epoch_order(48, 0, epoch)[:40])


def test_ragged_images_train_too(ragged_images: Any):
    encoder, history = run(
        ragged_images, options(batch_size=4, epochs=2, views={"size": 24}, knn_evaluations=1)
    )
    assert encoder.spec.image_size == 24
    assert math.isfinite(history[-1]["loss"])
    assert "knn_accuracy" in history[-1]


@pytest.mark.parametrize("ragged", [False, True])
def test_the_last_batch_counts_by_its_images(
    small_images: ArrayImages, ragged_images: Any, ragged: bool
):
    losses: list[tuple[float, int]] = []

    class Seen(Toy):
        def training_loss(self, views: Tensor) -> Tensor:
            loss = super().training_loss(views)
            losses.append((float(loss.detach()), len(views)))
            return loss

    images: Any = ragged_images if ragged else small_images
    size = 3 if ragged else 20
    chosen = options(batch_size=size, epochs=1, last_batch="keep", views={"size": 24})
    _, history = pretrain(Seen, TrainingRun(chosen, images, 0, "cpu"))
    assert [number for _, number in losses] == ([3, 3, 2] if ragged else [20, 20, 8])
    mean = sum(loss * number for loss, number in losses) / len(images)
    assert history[0]["loss"] == pytest.approx(mean, rel=1e-5)


def test_images_of_one_size_are_seen_as_they_are_on_disk_too(small_images: ArrayImages):
    on_disk = RaggedImages(list(small_images.pixels))
    on_disk.size = small_images.size
    encoder, _ = pretrain(Toy, TrainingRun(options(epochs=1), on_disk, 0, "cpu"))
    assert encoder.spec.image_size == 32


@pytest.mark.parametrize("layout", [True, False])
def test_memory_layout_is_an_option(small_images: ArrayImages, layout: bool):
    layouts: set[bool] = set()

    class Seen(Toy):
        def training_loss(self, views: Tensor) -> Tensor:
            weight = self.encoder.backbone.body.blocks[0].conv1.weight
            layouts.add(weight.is_contiguous(memory_format=torch.channels_last))
            layouts.add(not weight.is_contiguous())
            return super().training_loss(views)

    chosen = options(epochs=1, channels_last=layout)
    encoder, _ = pretrain(Seen, TrainingRun(chosen, small_images, 0, "cpu"))
    assert layouts == {layout}
    assert encoder.channels_last is layout


def test_encoders_are_compiled_while_they_are_trained(
    small_images: ArrayImages, monkeypatch: pytest.MonkeyPatch
):
    """With a compiler that changes nothing but to count."""
    calls: list[bool] = []

    def fake(encoder: Encoder) -> None:
        def call(images: Tensor) -> Tensor:
            calls.append(torch.is_grad_enabled())
            return type(encoder).forward(encoder, images)

        encoder._compiled_call_impl = call

    monkeypatch.setattr(Encoder, "compile", fake)
    whole, history = run(small_images)
    assert not calls
    encoder, again = run(small_images, options(compile=True))
    assert calls.count(True) == 16
    assert encoder._compiled_call_impl is None
    assert torch.equal(weights(encoder), weights(whole))
    assert history == again


def test_a_loss_that_is_no_number_is_one_sentence(small_images: ArrayImages):
    with pytest.raises(StageError, match="the loss is nan after epoch 1 of 4: try a learning rate"):
        run(small_images, options(poison_loss=True))


class Seeds(Toy):
    """Makes its weights the same for every seed."""

    def __init__(self, options: ToyOptions, context: TrainingContext) -> None:
        torch.manual_seed(0)
        super().__init__(options, context)


class SeedsLater(Toy):
    def after_step(self, progress: Any) -> None:
        torch.manual_seed(progress.step)


class Forks(Toy):
    """Seeds what it gives back."""

    def after_step(self, progress: Any) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(0)


@pytest.mark.parametrize("method", [Seeds, SeedsLater])
def test_a_method_that_seeds_torch_is_stopped(small_images: ArrayImages, method: type[Toy]):
    with pytest.raises(StageError, match=f"{method.__name__} seeds torch's generator"):
        pretrain(method, TrainingRun(options(), small_images, 0, "cpu"))


def test_a_method_may_seed_a_generator_that_it_gives_back(small_images: ArrayImages):
    encoder, _ = pretrain(Forks, TrainingRun(options(), small_images, 0, "cpu"))
    assert torch.equal(weights(encoder), weights(run(small_images)[0]))


def test_too_few_images(small_images: ArrayImages):
    with pytest.raises(StageError, match="48 images do not fill a batch of 64"):
        run(small_images, options(batch_size=64))


def test_generator_is_restored_after_a_failure(small_images: ArrayImages):
    before = torch.get_rng_state()
    with pytest.raises(StageError):
        run(small_images, options(poison_loss=True))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("decay", ["all", "weights"])
def test_what_is_decayed(decay: str):
    chosen = options(optimizer={"decay": decay, "weight_decay": 0.1, "lr": 1.0})
    task = Toy(chosen, TrainingContext(images=48, image_size=32, steps_per_epoch=4, seed=0))
    optimizer = build_optimizer(task, chosen.optimizer)
    before = {name: p.detach().clone() + 1 for name, p in task.named_parameters()}
    with torch.no_grad():
        for name, parameter in task.named_parameters():
            parameter.copy_(before[name])
            parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, parameter in task.named_parameters():
        kept = decay == "weights" and parameter.ndim == 1
        expected = before[name] if kept else 0.9 * before[name]
        assert torch.allclose(parameter, expected, atol=1e-6), name


def test_decay_by_name_follows_the_published_jigsaw():
    """Batch norms of torchvision's shortcuts have no 'bn' in their names: they are decayed."""
    chosen = options(backbone={"name": "resnet18"}, optimizer={"decay": "not-bn-or-bias"})
    task = Toy(chosen, TrainingContext(images=48, image_size=32, steps_per_epoch=4, seed=0))
    names = {id(parameter): name for name, parameter in task.named_parameters()}
    decayed, free = (
        {names[id(one)].removeprefix("encoder.backbone.body.") for one in group["params"]}
        for group in task.param_groups()
    )
    assert [group["weight_decay"] for group in task.param_groups()] == [1e-4, 0.0]
    assert {"layer2.0.downsample.1.weight", "conv1.weight", "head.weight"} <= decayed
    assert {"layer2.0.downsample.1.bias", "bn1.weight", "bn1.bias", "head.bias"} <= free
    assert len(decayed) == 20 + 3 + 1  # convolutions, batch norms of shortcuts, the head
    assert len(free) == 2 * 17 + 3 + 1  # batch norms, biases of those of shortcuts, of the head


def test_every_epoch_has_its_order():
    first, second = epoch_order(100, 0, 0), epoch_order(100, 0, 1)
    assert sorted(first) == list(range(100))
    assert not np.array_equal(first, second)
    assert np.array_equal(first, epoch_order(100, 0, 0))
