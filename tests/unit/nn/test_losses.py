from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from backbench.nn import cosine_regression, info_nce, similarity_distillation


def unit_vectors(seed: int, *shape: int) -> torch.Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=1)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    return logits - np.log(np.exp(logits).sum(1, keepdims=True))


def test_info_nce_is_the_log_share_of_the_own_key():
    queries, keys, negatives = unit_vectors(0, 5, 8), unit_vectors(1, 5, 8), unit_vectors(2, 11, 8)
    q, k, n = (x.double().numpy() for x in (queries, keys, negatives))
    shares = [
        np.exp(q[i] @ k[i] / 0.2) / (np.exp(q[i] @ k[i] / 0.2) + np.exp(n @ q[i] / 0.2).sum())
        for i in range(5)
    ]
    loss = info_nce(queries, keys, negatives, 0.2)
    assert loss.item() == pytest.approx(-np.log(shares).mean(), abs=1e-6)


def test_info_nce_keeps_float32_under_autocast():
    vectors = [unit_vectors(i, 6, 8) for i in range(3)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = info_nce(*vectors, 0.07)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, info_nce(*vectors, 0.07))


def test_cosine_regression_is_the_squared_distance_of_unit_vectors():
    first, second = torch.randn(7, 5), torch.randn(7, 5)
    a, b = first.double().numpy(), second.double().numpy()
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    expected = np.square(a - b).sum(1).mean()
    assert cosine_regression(first, second).item() == pytest.approx(expected, abs=1e-6)


def test_cosine_regression_bounds():
    vectors = torch.randn(4, 3)
    assert cosine_regression(vectors, 5 * vectors).item() == pytest.approx(0, abs=1e-6)
    assert cosine_regression(vectors, -vectors).item() == pytest.approx(4, abs=1e-6)


def test_distillation_is_the_divergence_of_similarities():
    student, teacher = unit_vectors(0, 5, 8), unit_vectors(1, 5, 6)
    student_anchors, teacher_anchors = unit_vectors(2, 9, 8), unit_vectors(3, 9, 6)
    log_s = log_softmax((student @ student_anchors.T).double().numpy() / 0.04)
    log_t = log_softmax((teacher @ teacher_anchors.T).double().numpy() / 0.04)
    expected = (np.exp(log_t) * (log_t - log_s)).sum(1).mean()
    loss = similarity_distillation(student, teacher, student_anchors, teacher_anchors, 0.04)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_distillation_of_equals_is_zero():
    features, anchors = unit_vectors(0, 5, 8), unit_vectors(1, 9, 8)
    loss = similarity_distillation(features, features, anchors, anchors, 0.04)
    assert loss.item() == pytest.approx(0, abs=1e-6)
