"""SSL-Cleanse finds the cluster of a small trigger, and trains triggers away."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from backbench.plugin import Encoder, TrainingContext, Verdict
from backbench.testing import METADATA, ModelDefenseContract
from backbench_defenses.ssl_cleanse import Cleansing, Cluster, SSLCleanse, invert, unit
from backbench_defenses.ssl_cleanse_options import CleanseOptions

OPTIONS = {
    "clean_fraction": 1.0,
    "most_clusters": 6,
    "inversion_epochs": 2,
    "inversion_lr": 0.5,
    "batch_size": 20,
    "epochs": 1,
    "optimizer": {"lr": 0.05, "weight_decay": 0},
}


class Kit(ModelDefenseContract):
    __test__ = False


def options(**given: Any) -> CleanseOptions:
    return CleanseOptions.model_validate(OPTIONS | given)


class OneCorner(Encoder):
    """Maps images to their mean color, and to a far corner where they have a white corner."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        corner = (images[:, :, :2, :2] - 0.7).clamp(min=0).mean(dim=(1, 2, 3))
        return torch.cat([images.mean(dim=(2, 3)) - 0.5, 40 * corner[:, None]], dim=1)


def test_the_trigger_of_a_cluster_is_where_the_encoder_looks() -> None:
    encoder, context = OneCorner(Kit().encoder().spec).eval(), Kit().context()
    images = context.clean(1.0).images
    features = unit(np.eye(4, dtype=np.float32)[np.r_[3, np.zeros(39, int)]])
    corner = Cluster(1, features, np.arange(40) == 0)  # where the corner is white
    found = invert(encoder, images, corner, options(inversion_epochs=30), context)
    assert found.works
    mask, pattern = found.trigger
    assert mask[:2, :2].mean() > 3 * mask.mean()
    assert pattern[:, :2, :2].mean() > 0.7


def test_a_verdict_states_the_clusters_and_their_triggers() -> None:
    verdict = SSLCleanse(options()).inspect(Kit().encoder(), Kit().context())
    clusters = int(verdict.numbers["clusters"])
    assert 2 <= clusters <= 6
    assert verdict.evidence["masks"].shape == (clusters, 32, 32)
    assert verdict.evidence["patterns"].shape == (clusters, 3, 32, 32)
    assert verdict.evidence["errors"].shape == (5,)
    sizes = verdict.evidence["masks"].mean((1, 2))
    np.testing.assert_allclose(verdict.evidence["sizes"], sizes, rtol=1e-5)
    assert verdict.numbers["smallest"] == verdict.evidence["sizes"].min()
    assert verdict.score == verdict.numbers["anomaly_index"] - 2.0


def corner_verdict() -> Verdict:
    masks = np.zeros((2, 32, 32), np.float32)
    masks[0, :8, :8] = masks[1] = 1
    patterns = np.ones((2, 3, 32, 32), np.float32)
    return Verdict(1.0, {"masks": masks, "patterns": patterns, "sizes": np.array([0.06, 1.0])})


def test_a_trigger_is_shifted_on_each_view() -> None:
    masks, patterns = (
        torch.from_numpy(corner_verdict().evidence[name][:1]) for name in ("masks", "patterns")
    )
    context = TrainingContext(images=40, image_size=32, steps_per_epoch=2, seed=0)
    task = Cleansing(Kit().encoder(), masks, patterns, options(), context)
    batch: Any = SimpleNamespace(seed=0, epoch=0, indices=np.arange(20))
    found = task.triggered(torch.zeros(20, 3, 32, 32), batch)
    assert found.flatten(1).sum(dim=1).tolist() == [8 * 8 * 3.0] * 20
    assert len({tuple(one[0].nonzero()[0].tolist()) for one in found}) > 10
    assert found.equal(task.triggered(torch.zeros(20, 3, 32, 32), batch))


def test_a_repair_moves_weights_and_keeps_the_statistics_of_batch_norms() -> None:
    context = replace(Kit().context(), verdict=corner_verdict())
    before = Kit().encoder()
    after = SSLCleanse(options()).repair(before, context)
    moved = {
        name: not one.equal(after.state_dict()[name]) for name, one in before.state_dict().items()
    }
    assert any(moved.values())
    assert not [name for name, changed in moved.items() if changed and "running" in name]


def test_a_repair_without_a_verdict_is_refused() -> None:
    with pytest.raises(ValueError, match="the triggers of an inspection are needed"):
        SSLCleanse(options()).repair(Kit().encoder(), Kit().context())


def test_too_few_trusted_images_are_refused() -> None:
    found = " ".join(options(clean_fraction=0.25).problems(METADATA))
    assert "fewer than two for each of 6 clusters" in found
    assert not list(options().problems(METADATA))
