"""Presets and learning rates of every epoch against the published numbers."""

from __future__ import annotations

import pytest

from backbench.images import ArrayImages
from backbench.nn import Encoder
from backbench_evaluators.crops import CropProbe
from backbench_evaluators.evaluator_options import (
    FrozenOptions,
    KNNOptions,
    ProbeOptions,
    RawOptions,
)
from tests.parity.evaluators.conftest import context, preset


def test_learning_rates_of_every_epoch():
    moco = FrozenOptions.model_validate(preset("linear-augmented", "saha2022"))
    jigsaw = ProbeOptions.model_validate(preset("layer-probe", "saha2022-jigsaw"))
    for options in (moco, jigsaw):
        assert options.epochs == 40
        for epoch in range(40):
            expected = 1e-2 if epoch < 15 else 1e-3 if epoch < 30 else 1e-4
            assert options.learning_rate(epoch) == pytest.approx(expected, rel=1e-12)
    rotnet = ProbeOptions.model_validate(preset("layer-probe", "saha2022-rotnet"))
    for epoch in range(40):
        table = [(5, 1e-2), (15, 2e-3), (25, 4e-4), (40, 8e-5)]
        expected = next(rate for end, rate in table if epoch < end)
        assert rotnet.learning_rate(epoch) == pytest.approx(expected, rel=1e-12)
    byol = RawOptions.model_validate(preset("linear-raw", "saha2022"))
    assert byol.epochs == 500
    for epoch in range(500):
        expected = 1e-2 * 10 ** (-4 * epoch / 500)
        assert byol.learning_rate(epoch) == pytest.approx(expected, rel=1e-12)
    assert byol.learning_rate(1) / byol.learning_rate(0) == pytest.approx(0.98175, abs=1e-5)


def test_presets_are_the_published_numbers():
    moco = FrozenOptions.model_validate(preset("linear-augmented", "saha2022"))
    assert (moco.batch_size, moco.momentum, moco.weight_decay) == (256, 0.9, 1e-4)
    assert not moco.nesterov
    byol = RawOptions.model_validate(preset("linear-raw", "saha2022"))
    assert (byol.batch_size, byol.weight_decay) == (1000, 5e-6)
    for name in ("saha2022-jigsaw", "saha2022-rotnet"):
        probe = ProbeOptions.model_validate(preset("layer-probe", name))
        assert probe.pool == (12, 12, 8, 6, 4)
        rotnet = name.endswith("rotnet")
        assert (probe.nesterov, probe.batch_norm) == (rotnet, rotnet)
        assert probe.weight_decay == (5e-4 if rotnet else 1e-4)
        assert (probe.start, probe.views) == (
            ("normal", "crop") if rotnet else ("uniform", "resized-crop")
        )
    assert KNNOptions.model_validate(preset("knn", "saha2022")).k == (1, 50)


def test_the_rate_of_an_epoch_is_the_one_that_is_used(encoder: Encoder, images: ArrayImages):
    seen: list = []
    options = FrozenOptions(label_fraction=0.1, epochs=4, milestones=(1, 3), batch_size=3)
    CropProbe(options, context(seen)).fit(encoder, images)
    rates = [values["lr"] for _, _, values in seen if values]
    assert rates == pytest.approx([1e-2, 1e-3, 1e-3, 1e-4])
