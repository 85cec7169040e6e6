"""Contract of self-supervised methods, and of all that is trained in their place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from backbench.images import ArrayImages
from backbench.model import StageKind
from backbench.options.training import SSLOptions
from backbench.plugin.checkpoint import CheckpointFile
from backbench.testing.base import PluginContract
from backbench.testing.hygiene import ENCODERS, assert_same, run_twice
from backbench.testing.purity import assert_unused, elsewhere, recorded_seeds, watched
from backbench.testing.samples import features_of, same_weights, sample_images

if TYPE_CHECKING:
    from backbench.nn import Encoder, SSLMethod

_STEPS = 20
_IMAGE_DIMENSIONS = 4

#: Options of a training of two epochs of a few seconds.
SMALL: Mapping[str, Any] = {
    "epochs": 2,
    "batch_size": 8,
    "backbone": {"name": "tiny-resnet", "widths": [4, 8], "strides": [1, 2], "stem_width": 4},
    "schedule": {"name": "constant", "milestones": [], "warmup_steps": 0, "warmup_epochs": 0},
    "precision": "fp32",
    "knn_evaluations": 1,
}

Trained = tuple["Encoder", list[dict[str, float]]]

#: The training that tests of a contract share, and the global generators that it has used.
_SHARED: WeakKeyDictionary[type[TrainedContract], tuple[Trained, list[str]]] = WeakKeyDictionary()


class TrainedContract(PluginContract):
    """Common contract of SSL methods, and of the defenses that wrap them."""

    def method_class(self) -> type[SSLMethod]:
        """Return the class of the method."""
        return self.implementation()

    def training(self) -> SSLOptions:
        """Return the options of the method."""
        settings: SSLOptions = self.settings()
        return settings

    def wrap(self, method: SSLMethod) -> SSLMethod:
        """Return what is trained in the method's place."""
        return method

    def pretrain(self, images: ArrayImages | None = None, seed: int = 0) -> Trained:
        """Train as a stage does; return the encoder and the log."""
        from backbench.training.loop import TrainingRun, pretrain

        shown = images or sample_images(self.metadata)
        kind, run = self.method_class(), TrainingRun(self.training(), shown, seed, device="cpu")
        return self.guarded("the training", lambda: pretrain(kind, run, self.wrap))

    def trained(self) -> Trained:
        """Return the result of the training that tests share, which they do not change."""
        return self._shared()[0]

    def _shared(self) -> tuple[Trained, list[str]]:
        kind = type(self)
        if kind not in _SHARED:
            self.implementation(), self.method_class()  # importing torch is not training
            _SHARED[kind] = watched(self.pretrain)
        return _SHARED[kind]

    @contextmanager
    def method(self) -> Iterator[tuple[SSLMethod, Callable[[], Any]]]:
        """Build the method as the training loop does; its views of a batch are made when called."""
        with self.method_and_batches() as (built, views, batches):
            yield built, lambda: views(batches[0])

    @contextmanager
    def method_and_batches(self) -> Iterator[tuple[SSLMethod, Callable[[Any], Any], list[Any]]]:
        """Build the method, what makes its views, two batches, and the first of the next epoch."""
        import torch

        from backbench.training.loop import TrainingRun, seeded
        from backbench.views.batches import open_source

        options, images, device = self.training(), sample_images(self.metadata), torch.device("cpu")
        kind, run = self.method_class(), TrainingRun(options, images, 0, "cpu")
        with seeded(0, device), open_source(images, device) as source:
            built: SSLMethod = self.guarded(
                "making the method", lambda: self.wrap(kind(options, run.context())).train()
            )
            first, later = run.batches(source, 0), run.batches(source, 1)
            batches = [next(first), next(first), next(later)]

            def views(batch: Any) -> Any:
                with torch.no_grad():
                    return self.guarded("views", lambda: built.views(batch))

            yield built, views, batches

    def test_training_gives_a_log_of_finite_numbers(self) -> None:
        log = self.trained()[1]
        assert len(log) == self.training().epochs, "train for as many epochs as the options state"
        wrong = [name for epoch in log for name, one in epoch.items() if not np.isfinite(one)]
        assert not wrong, f"keep the training finite: {wrong[0]} is not"

    def test_loss_falls_on_one_batch(self) -> None:
        """Twenty steps of the optimizer on the same views lower the loss, and move the encoder."""
        import torch

        from backbench.training.optimizers import build_optimizer

        with self.method() as (method, make_views):
            views = make_views()
            optimizer = build_optimizer(method, self.training().optimizer)
            losses = []
            for _ in range(_STEPS):
                loss: Any = self.guarded("training_loss", lambda: method.training_loss(views))
                assert isinstance(loss, torch.Tensor), (
                    f"return a tensor from training_loss, not a {type(loss).__name__}"
                )
                assert loss.shape == (), (
                    f"return a scalar from training_loss, such as its mean(), not {loss.shape}"
                )
                assert loss.requires_grad, "return a loss with a gradient: do not detach it"
                optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                reached = [one.grad for one in method.encoder.parameters() if one.grad is not None]
                assert any(bool(grad.any()) for grad in reached), (
                    "train self.encoder: the loss has no gradient for its weights"
                )
                optimizer.step()
                losses.append(float(loss.detach()))
        assert np.isfinite(losses).all(), f"keep the loss finite: {losses[-1]}"
        first, last = np.mean(losses[:5]), np.mean(losses[-5:])
        assert last < first, (
            f"minimize the loss: {_STEPS} steps on the same views move it from {first:.4g} to "
            f"{last:.4g}; a smaller optimizer.lr in `options` of the contract may help"
        )

    def test_views_depend_on_the_batch_alone(self) -> None:
        with self.method() as (_, make_views):
            first = _tensors(make_views())
            with elsewhere():
                again = _tensors(make_views())
        assert first, "return at least one tensor from views"
        same = len(first) == len(again)
        same = same and all(one.equal(other) for one, other in zip(first, again, strict=True))
        assert same, (
            "make the same views of the same batch: draw from its seed, epoch and indices, as "
            "random_view does"
        )

    def test_views_of_other_batches_draw_anew(self) -> None:
        """All batches have one seed; two views of an image that are equal teach nothing."""
        used: list[set[str]] = []
        with self.method_and_batches() as (_, make_views, batches):
            for batch in batches:
                with recorded_seeds() as seeds:
                    made = _tensors(make_views(batch))
                used.append(seeds)
        shared = sorted(set.intersection(*used))
        assert not shared, (
            "draw the views of each batch anew, from its seed, epoch and indices, and what all "
            f"batches share in __init__: views of every batch and epoch draw from {shared[0]}"
        )
        images = [one for one in made if one.ndim == _IMAGE_DIMENSIONS]
        equal = [one for one, other in combinations(images, 2) if _same(one, other)]
        assert not equal, (
            "draw two views of an image with two numbers, random_view(..., 0) and (..., 1), and "
            "return one that two networks see once: two views of a batch are equal"
        )

    def test_every_parameter_has_one_group(self) -> None:
        with self.method() as (method, _):
            groups = self.guarded("param_groups", lambda: list(method.param_groups()))
            grouped = [id(one) for group in groups for one in group["params"]]
            trained = {id(one) for one in method.parameters() if one.requires_grad}
        assert len(grouped) == len(set(grouped)), "put each parameter into one group only"
        assert set(grouped) == trained, (
            f"put all {len(trained)} parameters that take a gradient into groups: "
            f"{len(trained - set(grouped))} are left out, {len(set(grouped) - trained)} are others"
        )

    def test_encoder_is_the_one_of_the_options(self) -> None:
        """A record states the backbone by the options: another one would be compared wrongly."""
        with self.method() as (method, _):
            found, meant = method.encoder.spec, self.training().backbone.model_dump(mode="json")
        assert found.backbone == meant, (
            "keep the encoder that SSLMethod.__init__ makes: it has another backbone"
        )

    def test_encoder_maps_images_to_features(self) -> None:
        """The encoder takes (B, 3, S, S) in [0, 1] and gives finite float32 (B, D)."""
        encoder = self.trained()[0]
        assert not encoder.training, "leave the encoder in evaluation mode"
        features = features_of(encoder, 5)
        assert features.shape == (5, encoder.feature_dim), (
            f"give features (5, {encoder.feature_dim}) for 5 images, not {tuple(features.shape)}"
        )
        assert str(features.dtype) == "torch.float32", f"give float32, not {features.dtype}"
        assert bool(features.isfinite().all()), "give finite features"

    def test_encoder_survives_the_store(self, tmp_path: Path) -> None:
        from backbench.nn import load_encoder, save_encoder

        encoder = self.trained()[0]
        save_encoder(tmp_path, encoder)
        assert features_of(encoder).equal(features_of(load_encoder(tmp_path))), (
            "keep all that the encoder computes with in its parameters and buffers: read from the "
            "store, it gives other features"
        )

    def test_weights_depend_on_the_seed_alone(self) -> None:
        first = self.trained()
        with elsewhere():
            again = self.pretrain()
        other = self.pretrain(seed=4)
        assert same_weights(first[0], again[0]), (
            "train the same weights from the same seed: draw from torch's global generator, "
            "which is seeded, or from context.seed"
        )
        assert first[1] == again[1], "log the same values from the same seed"
        assert not same_weights(first[0], other[0]), "train other weights from another seed"

    def test_a_stopped_training_goes_on(self, tmp_path: Path) -> None:
        """Stopped after its first epoch, training resumes to the same weights and log.

        What a method carries from one epoch to the next is a parameter, a buffer, or the extra
        state of a module.
        """
        from backbench.training.loop import TrainingRun, pretrain

        options = self.training().model_copy(update={"checkpoint_minutes": 0.0})
        if options.epochs < 2:
            return
        checkpoint = CheckpointFile(tmp_path / "checkpoint.safetensors")
        run = TrainingRun(
            options, sample_images(self.metadata), 0, device="cpu", checkpoint=checkpoint
        )

        def stop(_done: int, _total: int, values: Mapping[str, float]) -> None:
            if values:
                raise InterruptedError

        kind, whole = self.method_class(), self.trained()
        with suppress(InterruptedError):
            pretrain(kind, replace(run, progress=stop), self.wrap)
        assert checkpoint.path.is_file(), (
            "let exceptions of progress pass: no checkpoint was written"
        )
        stopped = self.guarded("the resumed training", lambda: pretrain(kind, run, self.wrap))
        same = same_weights(stopped[0], whole[0]) and stopped[1] == whole[1]
        assert same, (
            "keep what is carried from one epoch to the next in a buffer or in the extra state of "
            "a module: a training that is stopped and resumed gives other weights"
        )

    def test_labels_are_not_used(self) -> None:
        images = sample_images(self.metadata)
        relabelled = ArrayImages(images.pixels, images.labels[::-1].copy(), images.sources)
        assert same_weights(self.trained()[0], self.pretrain(relabelled)[0]), (
            "train without labels: other labels give other weights"
        )

    def test_weights_do_not_follow_from_the_validation_split(self, tmp_path: Path) -> None:
        folders = self.guarded(
            "the stage pretrain", lambda: run_twice(tmp_path, self, StageKind.PRETRAIN)
        )
        assert_same(folders, *ENCODERS, "log.jsonl")

    def test_global_generators_are_untouched(self) -> None:
        """The images are not changed either: their arrays cannot be written to."""
        assert_unused(self._shared()[1])


class SSLMethodContract(TrainedContract):
    """Subclass it, and set ``info``.

    The method is trained several times: for two epochs, with batches of 8 and a tiny backbone. Its
    other options are those of its preset ``small``, if it has one; ``options`` change any of them.
    """

    base = "SSLMethod"

    def values(self) -> dict[str, Any]:
        """Return the preset ``small``, made smaller, and the contract's options."""
        return {**self.info.presets.get("small", {}), **SMALL, **self.options}


def _same(one: Any, other: Any) -> bool:
    return one.dtype == other.dtype and one.is_floating_point() and bool(one.equal(other))


def _tensors(views: Any) -> list[Any]:
    if isinstance(views, Mapping):
        views = list(views.values())
    if isinstance(views, list | tuple):
        return [tensor for view in views for tensor in _tensors(view)]
    return [views]
