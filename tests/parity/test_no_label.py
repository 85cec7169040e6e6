"""The selections of the no-label backdoor against their definitions, written out."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import KMeans

from backbench.images import ArrayImages
from backbench.plugin import DatasetMetadata
from backbench.poison.access import Access
from backbench.poison.choice import aim_of
from backbench.poison.poisoning import Poison
from backbench_attacks.no_label import NoLabel, clustered, k_means, neighbors_of_anchor
from backbench_attacks.no_label_options import NoLabelOptions

DATA = DatasetMetadata(("a", "b", "c"), 60, 4, (32, 32), (20, 20, 20))


def features(spread: float = 0.6) -> np.ndarray:
    rng = np.random.default_rng(0)
    centers = rng.standard_normal((3, 12))
    noise = rng.standard_normal((60, 12)) * spread
    return (centers[np.arange(60) % 3] + noise).astype(np.float32)


def by_hand(rows: np.ndarray, count: int) -> set[int]:
    """Score every image by its sorted cosines, one by one."""
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    scores, nearest = [], []
    for row in unit:
        cosines = [float(row @ other) for other in unit]
        order = sorted(range(len(unit)), key=lambda i: -cosines[i])
        sums = [sum(cosines[i] for i in part) for part in (order[:count], order[count : 2 * count])]
        scores.append(sums[0] - sums[1])
        nearest.append(set(order[:count]))
    return nearest[int(np.argmax(scores))]


@pytest.mark.parametrize("count", [4, 12, 20])
def test_the_anchor_is_the_image_whose_neighbors_stand_out(count: int) -> None:
    assert set(neighbors_of_anchor(features(), count).tolist()) == by_hand(features(), count)


def test_clusters_are_those_of_k_means() -> None:
    rows = features(spread=0.1)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    _, nearest = k_means(rows, 3, np.random.default_rng(0))
    theirs = KMeans(3, n_init=4, random_state=0).fit(rows)
    pairs = set(zip(nearest.tolist(), theirs.labels_.tolist(), strict=True))
    assert len(pairs) == 3


def test_the_smallest_cluster_that_is_large_enough_is_poisoned() -> None:
    rows = np.repeat(np.eye(3, 8, dtype=np.float32), (6, 14, 30), axis=0)
    noise = np.random.default_rng(0).standard_normal((50, 8), dtype=np.float32)
    rows += np.float32(0.02) * noise
    chosen = clustered(rows, 10, 3, np.random.default_rng(0))
    assert len(chosen) == 10
    assert ((chosen >= 6) & (chosen < 20)).all()
    with pytest.raises(ValueError, match="the largest of 3 clusters has 30 images, fewer than 40"):
        clustered(rows, 40, 3, np.random.default_rng(0))


def poison(**options: object) -> Poison:
    labels = np.arange(60) % 3
    images = ArrayImages(np.zeros((60, 32, 32, 3), np.uint8), labels, [str(i) for i in range(60)])
    given = {"rate": {"of": "count", "value": 12}, "width": 8, **options}
    attack = NoLabel(NoLabelOptions.model_validate(given), DATA)
    return Poison(attack, Access(images, features=features), 0)


def test_it_requests_features_and_no_label() -> None:
    assert poison().threat == {"labels": [], "sets": {}, "features": True}
    assert poison(selection="random").threat == {"labels": [], "sets": {}, "features": False}


def test_the_class_that_counts_is_that_of_most_poisons() -> None:
    attack = NoLabel(NoLabelOptions.model_validate({"width": 8}), DATA)
    labels = np.array([0, 1, 1, 2, 2, 2])
    assert attack.target is None
    assert aim_of(attack, np.array([0, 1, 2]), labels) == 1
    assert aim_of(attack, np.array([3, 4, 9]), labels) == 2


def test_options_that_cannot_work_are_one_sentence() -> None:
    for rate, sentence in (
        ({"of": "target_class", "value": 0.5}, "rate: the attack knows no class"),
        ({"of": "count", "value": 30}, "rate: 30 poisons need 60 neighbors, and there are 60"),
    ):
        (found,) = NoLabelOptions.model_validate({"rate": rate, "width": 8}).problems(DATA)
        assert found.startswith(sentence)
