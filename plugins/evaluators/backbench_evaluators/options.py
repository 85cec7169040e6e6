"""Options of the evaluators. No torch, no faiss."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, Literal

from backbench.plugin import DatasetFacts, Field, Options


class LabelledOptions(Options):
    """How many labels an evaluator is given."""

    label_fraction: float = Field(
        1.0,
        gt=0,
        le=1,
        description="share of each class's clean training pictures whose labels are used, at "
        "least one picture (the paper: 0.01 and 0.1)",
    )

    def labelled(self, data: DatasetFacts) -> int:
        """Return how many labels are used."""
        return sum(labels_of_class(count, self.label_fraction) for count in data.train_per_class)


class LinearOptions(LabelledOptions):
    """Options of the linear evaluation."""

    label_fraction: float = Field(
        0.1,
        gt=0,
        le=1,
        description="share of each class's clean training pictures whose labels are used, at "
        "least one picture (the paper: 0.01 and 0.1)",
    )
    solver: Literal["lbfgs", "sgd"] = Field(
        "lbfgs",
        description="lbfgs: the minimum of the penalised cross-entropy, whatever the number of "
        "pictures; sgd: the published 40 epochs, which need some thousands of pictures",
    )
    penalty: float = Field(
        1e-4, ge=0, description="L2 penalty of the weights, as SGD's weight_decay: ½ · this · w²"
    )
    max_iterations: int = Field(500, ge=1, description="most iterations of lbfgs")
    epochs: int = Field(40, ge=1, description="epochs of sgd")
    lr: float = Field(0.01, gt=0, description="learning rate of sgd")
    milestones: tuple[int, ...] = Field(
        (15, 30, 40), description="epochs from which on sgd's rate is divided by 10"
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum of sgd")
    batch_size: int = Field(256, ge=1, description="features a step of sgd")

    def faults(self, data: DatasetFacts) -> Iterator[str]:
        """Say why these options cannot work on a data set."""
        if len(data.classes) < 2:
            yield "a classifier needs at least two classes"


class KNNOptions(LabelledOptions):
    """Options of the k-NN evaluation."""

    k: int = Field(50, ge=1, description="number of neighbours that vote (the paper: 1 and 50)")

    def faults(self, data: DatasetFacts) -> Iterable[str]:
        """Say why these options cannot work on a data set."""
        if self.k > self.labelled(data):
            count = self.labelled(data)
            yield (
                f"k = {self.k} is more than the {count} labelled pictures: "
                f"set it to at most {count}"
            )


#: Numbers for data sets of some thousands of pictures.
SMALL_LINEAR: Final = {"label_fraction": 1.0}
SMALL_KNN: Final = {"k": 20}


def labels_of_class(count: int, fraction: float) -> int:
    """Return how many of a class's pictures are labelled: none of none, else at least one."""
    return min(count, max(1, round(fraction * count)))
