"""Base classes of evaluators, and their context.

Each is made with ``options``, the validated options of the record that announced the class.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from backbench.plugin.reporting import Reporting

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from backbench.images import ImageSet
    from backbench.metrics import Scores
    from backbench.nn import Encoder


class _Classifier(Reporting):
    """Common part of evaluators of both sorts.

    The harness fits an evaluator in one stage and predicts in others, which may run in other
    processes. ``fit``, :meth:`state` and :meth:`selection` are called in the first; a new object
    with the same options and seed gets :meth:`restore` and ``predict`` in the others. Where
    :meth:`state` is empty, ``fit`` is called again, with the same input, in place of
    :meth:`restore`.
    """

    def state(self) -> Mapping[str, NDArray[Any]]:
        """Return the fitted classifier as arrays by name, to be stored.

        There are none where fitting again is cheaper than storing, as for k-NN.
        """
        return {}

    def selection(self) -> Mapping[str, Any]:
        """Return what ``fit`` has selected, and by what, as JSON values for the stage's record.

        Whatever is chosen (a penalty, an epoch) is chosen on a part of the training images:
        :func:`backbench.plugin.selection_split` gives one.
        """
        return {}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take what :meth:`state` gave, in place of fitting.

        Raises:
            ValueError: If the arrays are not such a classifier's.
        """
        raise NotImplementedError(f"{type(self).__name__} stores no classifier")


class Evaluator(_Classifier, ABC):
    """A classifier on frozen features (``reads="features"``); every draw is of its ``seed``.

    Example::

        # my_plugin/centroids.py
        import numpy as np
        from backbench.plugin import Evaluator

        class Centroids(Evaluator):
            def fit(self, features, labels, classes):
                members = np.eye(classes, dtype=np.float32)[labels]  # (N, classes)
                counts = np.maximum(members.sum(axis=0), 1)
                self.means = members.T @ features / counts[:, None]  # (classes, D)

            def predict(self, features):
                # The negative squared distance, but for a term that all classes share.
                return 2 * features @ self.means.T - np.square(self.means).sum(axis=1)

            def state(self):
                return {"means": self.means}

            def restore(self, state):
                if set(state) != {"means"}:
                    raise ValueError("these arrays are not the means of classes")
                self.means = state["means"]
    """

    #: Stable names of the training images, in the order of the features; set before :meth:`fit`.
    sources: Sequence[str] = ()

    def __init__(self, options: Any, seed: int) -> None:
        self.options = options
        self.seed = seed

    @abstractmethod
    def fit(self, features: NDArray[np.float32], labels: NDArray[np.int64], classes: int) -> None:
        """Learn from clean training features.

        Args:
            features: (N, D), as the encoder gives them: not normalized.
            labels: (N,), in [0, classes).
            classes: Number of classes.
        """

    @abstractmethod
    def predict(self, features: NDArray[np.float32]) -> Scores:
        """Score each class for each image, (M, classes), of features, (M, D), as in :meth:`fit`."""


@dataclass(frozen=True, slots=True)
class EvaluationContext:
    """Context of an evaluator that reads images; see :class:`DefenseContext`."""

    seed: int
    device: str
    classes: int
    progress: Callable[[int, int, Mapping[str, float]], None]


class ImageEvaluator(_Classifier, ABC):
    """A classifier that runs a frozen encoder on images itself (``reads="images"``).

    Example::

        # my_plugin/exact.py
        import numpy as np
        from backbench.plugin import ImageEvaluator, extract

        class ExactNearest(ImageEvaluator):
            def fit(self, encoder, images):
                self.features, self.labels = self._features(encoder, images), images.labels

            def predict(self, encoder, images):
                similarity = self._features(encoder, images) @ self.features.T  # (M, N)
                nearest = self.labels[similarity.argmax(axis=1)]
                return np.eye(self.context.classes, dtype=np.float32)[nearest]

            def _features(self, encoder, images):
                device = self.context.device
                features = extract(encoder, images, device=device, precision="fp32")
                return features / np.linalg.norm(features, axis=1, keepdims=True)
    """

    def __init__(self, options: Any, context: EvaluationContext) -> None:
        self.options = options
        self.context = context

    @abstractmethod
    def fit(self, encoder: Encoder, images: ImageSet) -> None:
        """Learn from the clean training images and their labels.

        The encoder is in evaluation mode, on the device of the context. Do not modify it.
        """

    @abstractmethod
    def predict(self, encoder: Encoder, images: ImageSet) -> Scores:
        """Score each class for each image, (M, classes), by the encoder of :meth:`fit`.

        The M validation images are clean or triggered. Their labels are all -1.
        """
