"""Maps of features: what is the same but for a turn has the same map; numbers are of all features."""

from __future__ import annotations

import numpy as np
import pytest

from backbench.report.figures.clouds import Cloud, embedded, projected
from backbench.report.figures.encoders import few
from backbench.report.figures.maps import map_figure, tsne_figure
from backbench.report.figures.scatter import apart
from backbench.system.arithmetic import standard_arithmetic
from tests.unit.report.figures.drawn import checked

CLEAN = np.random.default_rng(0).normal(size=(30, 5)).astype(np.float32) * (5, 3, 1, 0.1, 0.1)
LABELS = np.arange(30) % 3


def test_a_turned_encoder_has_the_same_map() -> None:
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(5, 5)))[0]
    (first, second), kept = projected([Cloud("a", CLEAN), Cloud("b", CLEAN @ turn)])
    assert second.clean == pytest.approx(first.clean, abs=1e-5)
    assert kept[0] == pytest.approx(kept[1])
    assert 0.5 < kept[0] <= 1


def test_a_map_reports_how_near_triggered_images_are_to_the_target() -> None:
    toward = np.repeat(CLEAN[LABELS == 2].mean(axis=0)[None], 4, axis=0)
    cloud = Cloud("attacked", CLEAN, toward.astype(np.float32), CLEAN[:3])
    labels = np.array([0, 0, 1, 1])
    figure = checked(lambda: map_figure([cloud], LABELS, labels, ("a", "b", "c"), 2))
    name, kept, own, target = figure.rows[0]
    assert name == "attacked"
    assert float(kept) <= 1
    assert float(target) > float(own)
    assert f"{float(target):.2f} to the target" in figure.alternative
    assert "4 triggered validation images" in figure.caption
    assert "3 poisoned training images" in figure.caption


def test_a_map_without_an_attack_has_the_clean_classes() -> None:
    figure = checked(
        lambda: map_figure([Cloud("clean", CLEAN)], LABELS, LABELS[:0], ("a", "b", "c"))
    )
    assert figure.rows[0][2:] == ("–", "–")
    assert b">c</text>" in figure.image


def test_tsne_keeps_classes_together_and_a_turned_encoder_on_its_map() -> None:
    pytest.importorskip("sklearn", reason="needs scikit-learn")
    centers = np.eye(3, 6, dtype=np.float32)[np.arange(60) % 3]
    clean = centers + 0.1 * np.random.default_rng(2).normal(size=(60, 6)).astype(np.float32)
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(6, 6)))[0].astype(np.float32)
    clouds = [Cloud("a", clean, clean[:4]), Cloud("b", clean @ turn, clean[:4] @ turn)]
    with standard_arithmetic():
        first, second = embedded(clouds)
        assert (embedded(clouds)[0].clean == first.clean).all()
    means = np.stack([first.clean[at::3].mean(axis=0) for at in range(3)])
    nearest = np.square(first.clean[:, None] - means).sum(axis=2).argmin(axis=1)
    assert (nearest == np.arange(60) % 3).all()
    assert first.triggered is not None
    assert first.triggered.shape == (4, 2)
    assert first.poisons is None
    gap = np.square(second.clean - first.clean).sum() / np.square(first.clean).sum()
    assert gap < 0.2
    figure = tsne_figure(clouds, np.arange(60) % 3, ("a", "b", "c"), 1)
    assert "60 clean validation images, 4 triggered" in figure.caption


def test_few_images_are_of_all_classes() -> None:
    labels = np.array([0] * 50 + [1] * 3 + [2] * 50)
    assert np.bincount(labels[few(labels, 9)]).tolist() == [3, 3, 3]
    assert len(few(labels, 1000)) == len(labels)


def test_labels_are_moved_apart_in_their_order() -> None:
    placed = apart(np.array([0.0, 5.0, 0.1, 0.2]), 1.0)
    assert np.diff(np.sort(placed)).min() >= 0.99
    assert np.argsort(placed).tolist() == [0, 2, 3, 1]
