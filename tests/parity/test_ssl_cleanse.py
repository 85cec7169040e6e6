"""SSL-Cleanse against its formulas, written out with NumPy and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import median_abs_deviation
from sklearn.cluster import KMeans

from backbench.nn import TrainingContext
from backbench.testing.samples import tiny_encoder
from backbench_defenses.inversion import Trigger
from backbench_defenses.ssl_cleanse import Cleansing, Inverted, anomaly_index, clustered, knee, unit
from backbench_defenses.ssl_cleanse_options import CleanseOptions


@pytest.mark.parametrize("seed", range(4))
def test_the_anomaly_index_is_in_deviations_of_normal_numbers(seed: int) -> None:
    sizes = np.random.default_rng(seed).normal(10, 2, 9)
    deviation = median_abs_deviation(sizes, scale="normal")
    expected = (np.median(sizes) - sizes.min()) / deviation
    assert anomaly_index(sizes) == pytest.approx(expected, rel=1e-4)  # 1.4826 is rounded


def test_equal_sizes_have_no_anomaly_and_one_small_size_has_a_finite() -> None:
    assert anomaly_index(np.full(5, 0.2)) == 0
    assert 2 < anomaly_index(np.array([0.1, 0.2, 0.2, 0.2, 0.2])) < np.inf


def test_the_knee_is_the_point_farthest_from_the_line_between_both_ends() -> None:
    numbers = np.arange(2, 21)
    for bend in (5, 8, 12):
        errors = np.where(numbers <= bend, 100.0 - 10 * (numbers - 2), 0.0)
        errors = np.where(numbers > bend, errors[bend - 2] - 0.1 * (numbers - bend), errors)
        assert knee(numbers, errors, window=1) == bend
        start, end = np.array([2, errors[0]]), np.array([20, errors[-1]])
        points = np.stack([numbers, errors], axis=1)
        scale = np.abs(end - start)
        line, offset = (end - start) / scale, (points - start) / scale
        distance = np.abs(line[0] * offset[:, 1] - line[1] * offset[:, 0])
        assert numbers[distance.argmax()] == bend


def test_a_window_averages_the_error_before_the_knee_is_found() -> None:
    numbers = np.arange(2, 12)
    errors = np.array([100.0, 60, 95, 50, 20, 15, 12, 10, 9, 8])
    smooth = [errors[:2].mean(), *(errors[at - 1 : at + 2].mean() for at in range(1, 9))]
    smooth.append(errors[-2:].mean())
    assert knee(numbers, errors, window=3) == knee(numbers, np.array(smooth), window=1)


def test_clusters_and_their_error_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(4, 6))
    features = unit(np.repeat(centers, 25, axis=0) + 0.05 * rng.normal(size=(100, 6)))
    found = clustered(features, 4, seed=1)
    expected = KMeans(4, n_init=5, random_state=0).fit(features)
    assert found.error == pytest.approx(expected.inertia_, rel=1e-3)
    for cluster in range(4):
        assert len(set(found.of[25 * cluster : 25 * cluster + 25])) == 1


def test_a_triggers_size_is_the_mean_of_its_mask() -> None:
    rng = np.random.default_rng(0)
    mask, pattern = rng.random((4, 4)), rng.random((3, 4, 4))
    found = Inverted(Trigger(torch.from_numpy(mask), torch.from_numpy(pattern)), works=True).size
    assert found == pytest.approx(mask.sum() / 16)


def test_the_loss_of_the_fine_tuning_is_of_both_views_against_the_clean_view_before() -> None:
    encoder, rng = tiny_encoder(), torch.Generator().manual_seed(0)
    clean, triggered = torch.rand(2, 5, 3, 32, 32, generator=rng)
    options = CleanseOptions(triggered_weight=2.0, clean_weight=0.5)
    context = TrainingContext(images=5, image_size=32, steps_per_epoch=1, seed=0)
    task = Cleansing(encoder, torch.zeros(1, 32, 32), torch.zeros(1, 3, 32, 32), options, context)
    with torch.no_grad():
        for parameter in task.encoder.parameters():
            parameter.add_(0.1)
        before, after, moved = (
            network(images).numpy().astype(np.float64)
            for network, images in (
                (encoder, clean),
                (task.encoder, clean),
                (task.encoder, triggered),
            )
        )
        loss = task.train().training_loss((clean, triggered)).item()

    def distance(first: np.ndarray, second: np.ndarray) -> float:
        cosines = (first * second).sum(1)
        cosines /= np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
        return float(np.mean(2 - 2 * cosines))

    expected = 2.0 * distance(moved, before) + 0.5 * distance(after, before)
    assert loss == pytest.approx(expected, rel=1e-4)
