"""Fine-tuning: the whole encoder learns the labels, and not a classifier alone."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from backbench.nn import Batch, Encoder
from backbench.plugin import (
    ImageEvaluator,
    ImageSet,
    Subset,
    TrainingContext,
    TrainingRun,
    TrainingTask,
    derive,
    random_view,
    train,
)
from backbench.training.extraction import extract
from backbench_evaluators.classifiers import (
    Floats,
    LinearClassifier,
    labelled_images,
    require,
    unpacked,
)
from backbench_evaluators.evaluator_options import FineTuneOptions

#: Begins the names of the encoder's arrays in the state.
_ENCODER = "encoder."


class FineTune(ImageEvaluator):
    """A linear classifier that is trained together with a copy of the encoder.

    Source: Chen et al. 2020 (SimCLR), appendix B.5: the whole network on 1 % or 10 % of the
        labels, random crops and flips, SGD with Nesterov's momentum .9, a learning rate of .05
        for each 256 images of a batch, neither weight decay nor warm-up, 60 or 30 epochs.
    Differs: batches of 256 and not of 4096; the rate falls by a cosine, and the appendix names no
        schedule; whole images are classified, and not the central 224 of 256 pixels. Not measured.
    """

    options: FineTuneOptions

    def fit(self, encoder: Encoder, images: ImageSet) -> None:
        """Learn from the labelled images; see :meth:`backbench.plugin.ImageEvaluator.fit`."""
        context = self.context
        chosen = labelled_images(self.options, images.labels, images.sources, context.seed)
        run = TrainingRun(
            self.options,
            Subset(images, chosen),
            derive(context.seed, "fine-tune"),
            context.device,
            context.progress,
            image_size=encoder.spec.image_size,
        )
        labels = torch.from_numpy(images.labels[chosen].copy())

        def build(training: TrainingContext) -> Tuning:
            return Tuning(encoder, labels, context.classes, self.options, training)

        task, history = train(build, run)
        self._report = {"labelled": float(len(chosen)), "loss": history[-1]["loss"]}
        network = {name: one.cpu().numpy() for name, one in task.encoder.state_dict().items()}
        layer = {name: one.cpu().numpy() for name, one in task.classifier.state_dict().items()}
        self._state = {f"{_ENCODER}{name}": one for name, one in network.items()} | layer

    def report(self) -> Mapping[str, float]:
        """Return the number of labelled images, and the mean loss of the last epoch."""
        return self._report

    def predict(self, encoder: Encoder, images: ImageSet) -> Floats:
        """Return logits, (M, classes), of M whole images, by the encoder that was tuned."""
        tuned = copy.deepcopy(encoder)
        weights = {name: torch.from_numpy(one.copy()) for name, one in self._parts()[0].items()}
        tuned.load_state_dict(weights)
        classifier = LinearClassifier(unpacked(self._parts()[1]))
        return classifier(extract(tuned.eval(), images, device=self.context.device))

    def state(self) -> Mapping[str, NDArray[Any]]:
        """Return the encoder's arrays as ``encoder.…``, and ``weight`` and ``bias``."""
        return self._state

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take what :meth:`state` gave.

        Raises:
            ValueError: If there is no encoder, or no classifier, in it.
        """
        self._state = dict(state)
        network, layer = self._parts()
        require(layer, {"weight", "bias"})
        if not network:
            raise ValueError("it holds no encoder that was tuned")

    def _parts(self) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
        """Return the arrays of the encoder by its own names, and those of the classifier."""
        network, layer = {}, {}
        for name, one in self._state.items():
            if name.startswith(_ENCODER):
                network[name.removeprefix(_ENCODER)] = one
            else:
                layer[name] = one
        return network, layer


class Lesson(NamedTuple):
    """Views, (B, 3, S, S), and their classes, (B,)."""

    views: Tensor
    labels: Tensor


class Tuning(TrainingTask):
    """The training of a copy of an encoder, and of a linear layer, by the cross-entropy.

    Args:
        encoder: The encoder, which stays as it is.
        labels: Class of each training image, (N,).
        classes: Number of classes.
        options: Options of the training.
        context: Metadata of the training.
    """

    def __init__(
        self,
        encoder: Encoder,
        labels: Tensor,
        classes: int,
        options: FineTuneOptions,
        context: TrainingContext,
    ) -> None:
        super().__init__(options, context)
        self.options = options
        self.encoder = copy.deepcopy(encoder).requires_grad_(requires_grad=True)
        self.classifier = nn.Linear(encoder.feature_dim, classes)
        self.register_buffer("labels", labels, persistent=False)

    labels: Tensor

    def views(self, batch: Batch) -> Lesson:
        """Return a random crop of each image, and its class."""
        views = random_view(batch, self.options.views, self.context.image_size, 0)
        wanted = self.labels[torch.from_numpy(batch.indices).to(self.labels.device)]
        return Lesson(views, wanted)

    def training_loss(self, views: Lesson) -> Tensor:
        """Return the mean cross-entropy of the batch."""
        return F.cross_entropy(self.classifier(self.encoder(views.views)).float(), views.labels)
