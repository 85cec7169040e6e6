"""Options of the no-label backdoor. No torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from backbench.plugin import DatasetMetadata, Field, JPEGOptions
from backbench_attacks.rate import Rate
from backbench_attacks.trigger_options import BoxTriggerOptions


class NoLabelOptions(BoxTriggerOptions, JPEGOptions):
    """Options of the no-label backdoor."""

    rate: Rate = Field(
        Rate(of="dataset", value=0.06), description="how many training images are poisoned"
    )
    selection: Literal["contrastive", "cluster", "random"] = Field(
        "contrastive",
        description="contrastive: the neighbors of the image whose neighbors are the closest "
        "against the next closest; cluster: the smallest cluster that is large enough; random: any "
        "images, to compare with",
    )
    clusters: int = Field(10, ge=2, description="number of clusters of k-means")

    def problems(self, data: DatasetMetadata) -> Iterator[str]:
        """Yield why the attack cannot work on a dataset: its number of poisons, its size."""
        yield from self.size_problems(data)
        if self.rate.of == "target_class":
            yield 'rate: the attack knows no class; set of = "dataset" or "count"'
            return
        try:
            count = self.rate.count(data.train, data.train)
        except ValueError as error:
            yield str(error)
            return
        if self.selection == "contrastive" and 2 * count >= data.train:
            yield (
                f"rate: {count} poisons need {2 * count} neighbors, and there are {data.train} "
                "images; make rate smaller"
            )
