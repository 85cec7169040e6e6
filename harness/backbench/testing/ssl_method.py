"""Contract of self-supervised methods."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from backbench.images import ArrayImages
from backbench.model import StageKind
from backbench.testing.base import (
    PluginContract,
    features_of,
    global_generators_untouched,
    same_weights,
    sample_images,
)
from backbench.testing.hygiene import ENCODERS, assert_same, run_twice

if TYPE_CHECKING:
    from backbench.nn import Encoder, SSLMethod

_STEPS = 20


class SSLMethodContract(PluginContract):
    """Subclass it; set ``info``, and ``options`` that are small.

    A few epochs, batches of 8, a tiny backbone: the method is trained several times.
    """

    base = "SSLMethod"

    def pretrain(
        self, images: ArrayImages | None = None, seed: int = 0
    ) -> tuple[Encoder, list[dict[str, float]]]:
        """Train as a stage does; return the encoder and the log."""
        from backbench.training.loop import TrainingRun, pretrain

        images = images or sample_images(self.metadata)
        run = TrainingRun(self.settings(), images, seed, device="cpu")
        return pretrain(self.implementation(), run)

    @contextmanager
    def method(self) -> Iterator[tuple[SSLMethod, Callable[[], Any]]]:
        """Build the method as the training loop does; its views of a batch are made when called."""
        import torch

        from backbench.training.loop import TrainingRun, seeded
        from backbench.views.batches import open_source

        options, images, device = self.settings(), sample_images(self.metadata), torch.device("cpu")
        run = TrainingRun(options, images, 0, "cpu")
        with seeded(0, device), open_source(images, device) as source:
            method: SSLMethod = self.implementation()(options, run.context()).train()
            batch = next(run.batches(source, 0))
            yield method, torch.no_grad()(lambda: method.views(batch))

    def test_training_gives_a_log_of_finite_numbers(self) -> None:
        log = self.pretrain()[1]
        assert len(log) == self.settings().epochs
        assert all(np.isfinite(list(epoch.values())).all() for epoch in log)

    def test_loss_falls_on_one_batch(self) -> None:
        """Twenty steps of the optimizer on the same views lower the loss, and move the encoder."""
        from backbench.training.optimizers import build_optimizer

        with self.method() as (method, make_views):
            views = make_views()
            optimizer = build_optimizer(method, self.settings().optimizer)
            before = [parameter.detach().clone() for parameter in method.encoder.parameters()]
            losses = []
            for _ in range(_STEPS):
                loss = method.training_loss(views)
                assert loss.shape == ()
                optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                losses.append(float(loss.detach()))
            assert np.isfinite(losses).all()
            assert np.mean(losses[-5:]) < np.mean(losses[:5])
            moved = zip(before, method.encoder.parameters(), strict=True)
            assert any(not old.equal(new) for old, new in moved)

    def test_views_depend_on_the_batch_alone(self) -> None:
        with self.method() as (_, make_views):
            first, again = _tensors(make_views()), _tensors(make_views())
        assert len(first) == len(again) > 0
        assert all(one.equal(other) for one, other in zip(first, again, strict=True))

    def test_every_parameter_has_one_group(self) -> None:
        with self.method() as (method, _):
            grouped = [id(one) for group in method.param_groups() for one in group["params"]]
            trained = {id(one) for one in method.parameters() if one.requires_grad}
        assert len(grouped) == len(set(grouped))
        assert set(grouped) == trained

    def test_encoder_maps_images_to_features(self) -> None:
        """The encoder takes (B, 3, S, S) in [0, 1] and gives finite float32 (B, D)."""
        encoder = self.pretrain()[0]
        assert not encoder.training
        features = features_of(encoder, 5)
        assert features.shape == (5, encoder.feature_dim)
        assert str(features.dtype) == "torch.float32"
        assert features.isfinite().all()

    def test_encoder_survives_the_store(self, tmp_path: Path) -> None:
        from backbench.nn import load_encoder, save_encoder

        encoder = self.pretrain()[0]
        save_encoder(tmp_path, encoder)
        assert features_of(encoder).equal(features_of(load_encoder(tmp_path)))

    def test_weights_depend_on_the_seed_alone(self) -> None:
        first, again, other = self.pretrain(seed=3), self.pretrain(seed=3), self.pretrain(seed=4)
        assert same_weights(first[0], again[0])
        assert first[1] == again[1]
        assert not same_weights(first[0], other[0])

    def test_a_stopped_training_goes_on(self, tmp_path: Path) -> None:
        """Stopped after its first epoch, training resumes to the same weights and log.

        What a method carries from one epoch to the next is a parameter, a buffer, or the extra
        state of a module.
        """
        from backbench.training.loop import TrainingRun, pretrain

        options = self.settings().model_copy(update={"checkpoint_minutes": 0.0})
        if options.epochs < 2:
            return
        checkpoint = tmp_path / "checkpoint.safetensors"
        run = TrainingRun(
            options, sample_images(self.metadata), 0, device="cpu", checkpoint=checkpoint
        )

        def stop(_done: int, _total: int, values: Mapping[str, float]) -> None:
            if values:
                raise InterruptedError

        with suppress(InterruptedError):
            pretrain(self.implementation(), replace(run, progress=stop))
        assert checkpoint.is_file()
        stopped, whole = pretrain(self.implementation(), run), self.pretrain()
        assert same_weights(stopped[0], whole[0])
        assert stopped[1] == whole[1]

    def test_labels_are_not_used(self) -> None:
        images = sample_images(self.metadata)
        relabelled = ArrayImages(images.pixels, images.labels[::-1].copy(), images.sources)
        assert same_weights(self.pretrain(images)[0], self.pretrain(relabelled)[0])

    def test_weights_do_not_follow_from_the_validation_split(self, tmp_path: Path) -> None:
        folders = run_twice(tmp_path, self, StageKind.PRETRAIN)
        assert_same(folders, *ENCODERS, "log.jsonl")

    def test_images_are_not_changed(self) -> None:
        images = sample_images(self.metadata)
        before = images.pixels.copy()
        self.pretrain(images)
        np.testing.assert_array_equal(images.pixels, before)

    def test_global_generators_are_untouched(self) -> None:
        self.implementation()  # importing torch is not training
        with global_generators_untouched():
            self.pretrain()


def _tensors(views: Any) -> list[Any]:
    if isinstance(views, Mapping):
        views = list(views.values())
    if isinstance(views, list | tuple):
        return [tensor for view in views for tensor in _tensors(view)]
    return [views]
