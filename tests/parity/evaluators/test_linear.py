"""Linear probes against independent formulas, torch's own optimizers and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.preprocessing import StandardScaler
from torch import nn

from backbench.images import ArrayImages
from backbench.nn import Encoder
from backbench.options.views import ViewOptions
from backbench.seeds import derive
from backbench.views.batches import UniformBatch
from backbench.views.views import random_view
from backbench_evaluators.classifiers import labelled_subset
from backbench_evaluators.crops import CachedCropProbe, CropProbe
from backbench_evaluators.evaluator_options import CachedOptions, FrozenOptions, RawOptions
from backbench_evaluators.linear import FeatureProbe
from tests.parity.evaluators.conftest import CLASSES, SEED, SIDE, context, floats

# -- MoCo's: normalized features of fresh crops --------------------------------------------------


def test_normalization_is_the_published_formula(encoder: Encoder, images: ArrayImages):
    """x / ‖x‖₂, then (x − mean) / √(var + 1e-5), over the labelled images, whole, in float64."""
    options = FrozenOptions(label_fraction=0.6, epochs=1, batch_size=8)
    probe = CropProbe(options, context())
    probe.fit(encoder, images)
    state = probe.state()

    chosen = labelled_subset(images.labels, 0.6, derive(SEED, "labelled"))
    assert len(chosen) == 18
    with torch.no_grad():
        features = encoder(floats(images, chosen)).double().numpy()
    units = features / np.sqrt((features**2).sum(axis=1, keepdims=True))
    mean = units.sum(axis=0) / 18
    variance = ((units - mean) ** 2).sum(axis=0) / 17  # unbiased
    np.testing.assert_allclose(state["mean"], mean, atol=1e-6)
    np.testing.assert_allclose(state["scale"], 1 / np.sqrt(variance + 1e-5), rtol=1e-4)

    peer = StandardScaler().fit(units)  # divides by N, and adds nothing
    np.testing.assert_allclose(state["mean"], peer.mean_, atol=1e-6)
    np.testing.assert_allclose(1 / state["scale"] ** 2 - 1e-5, peer.var_ * 18 / 17, atol=1e-7)

    inputs = (units - mean) / np.sqrt(variance + 1e-5)
    expected = inputs @ state["weight"].T + state["bias"]
    subset = ArrayImages(images.pixels[chosen], images.labels[chosen], chosen.astype(str))
    np.testing.assert_allclose(probe.predict(encoder, subset), expected, atol=2e-3)


def test_steps_are_torchs_sgd(encoder: Encoder, images: ArrayImages):
    """Fresh crops through the frozen backbone every epoch, the last batch smaller, step by step."""
    options = FrozenOptions(
        label_fraction=1.0, epochs=3, batch_size=12, lr=0.3, milestones=(1,), weight_decay=0.01
    )
    probe = CropProbe(options, context())
    probe.fit(encoder, images)
    state = probe.state()

    layer = nn.utils.skip_init(nn.Linear, 512, CLASSES)
    bound = 1 / math.sqrt(512)
    start = np.random.default_rng(derive(SEED, "start")).uniform(-bound, bound, (513, CLASSES))
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(start[:-1].T))
        layer.bias.copy_(torch.from_numpy(start[-1]))
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.3, momentum=0.9, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [1])
    views = ViewOptions(scale=(0.08, 1), jitter=0, grayscale=0, blur=0)
    mean, scale = torch.from_numpy(state["mean"]), torch.from_numpy(state["scale"])
    sizes = []
    for epoch in range(3):
        order = np.random.default_rng(derive(SEED, "order", epoch)).permutation(30)
        for rows in np.split(order, [12, 24]):
            sizes.append(len(rows))
            pixels = torch.tensor(images.pixels[rows])
            batch = UniformBatch(pixels, rows, epoch=epoch, seed=derive(SEED, "views"))
            with torch.no_grad():
                features = encoder(random_view(batch, views, SIDE, 0))
            inputs = (features / features.norm(dim=1, keepdim=True) - mean) * scale
            loss = F.cross_entropy(layer(inputs), torch.tensor(images.labels[rows]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
    assert sizes == [12, 12, 6] * 3
    np.testing.assert_allclose(state["weight"], layer.weight.detach().numpy(), atol=1e-5)
    np.testing.assert_allclose(state["bias"], layer.bias.detach().numpy(), atol=1e-5)


def test_as_many_cached_views_as_epochs_are_fresh_crops(encoder: Encoder, images: ArrayImages):
    """The same crops in the same order, so the same head."""
    recipe = {"label_fraction": 0.6, "epochs": 3, "batch_size": 8, "lr": 0.1}
    fresh = CropProbe(FrozenOptions(**recipe), context())
    cached = CachedCropProbe(CachedOptions(**recipe, views=3), context())
    heads = []
    for probe in (fresh, cached):
        probe.fit(encoder, images)
        heads.append(probe.state())
    for name, array in heads[0].items():
        np.testing.assert_allclose(heads[1][name], array, atol=1e-5)


def test_cached_views_are_seen_in_turn(encoder: Encoder, images: ArrayImages):
    """Two views and four epochs of one batch: steps of gradient descent, by the formula."""
    seen: list = []
    options = CachedOptions(
        label_fraction=1.0, epochs=4, batch_size=30, lr=0.1, momentum=0, weight_decay=0, views=2
    )
    probe = CachedCropProbe(options, context(seen))
    probe.fit(encoder, images)
    state = probe.state()
    rows = np.arange(30)
    features = []
    for epoch in range(2):
        pixels = torch.tensor(images.pixels)
        batch = UniformBatch(pixels, rows, epoch=epoch, seed=derive(SEED, "views"))
        view = ViewOptions(scale=(0.08, 1), jitter=0, grayscale=0, blur=0)
        with torch.no_grad():
            unit = F.normalize(encoder(random_view(batch, view, SIDE, 0)), dim=1).double().numpy()
        features.append((unit - state["mean"]) * state["scale"])
    bound = 1 / math.sqrt(512)
    weights = np.random.default_rng(derive(SEED, "start")).uniform(-bound, bound, (513, CLASSES))
    for epoch in range(4):
        inputs = np.concatenate([features[epoch % 2], np.ones((30, 1))], axis=1)
        scores = np.exp(inputs @ weights)
        wrong = scores / scores.sum(axis=1, keepdims=True) - np.eye(CLASSES)[images.labels]
        weights -= 0.1 * inputs.T @ wrong / 30
    np.testing.assert_allclose(state["weight"], weights[:-1].T, atol=1e-4)
    np.testing.assert_allclose(state["bias"], weights[-1], atol=1e-4)
    assert seen[-1][:2] == (4, 4)


# -- BYOL's: features as they are ----------------------------------------------------------------


def test_steps_are_torchs_adam():
    """Coupled L2, one factor an epoch, the remainder of each permutation dropped."""
    rng = np.random.default_rng(0)
    features = (5 * rng.normal(size=(50, 8)) + 2).astype(np.float32)
    labels = np.arange(50) % 4
    options = RawOptions(label_fraction=1.0, epochs=6, batch_size=20, weight_decay=0.02)
    linear = FeatureProbe(options, SEED)
    linear.fit(features, labels, 4)

    draws = np.random.default_rng(derive(SEED, "adam"))
    start = draws.uniform(-1 / math.sqrt(8), 1 / math.sqrt(8), (9, 4))
    layer = nn.utils.skip_init(nn.Linear, 8, 4)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(start[:-1].T))
        layer.bias.copy_(torch.from_numpy(start[-1]))
    optimizer = torch.optim.Adam(layer.parameters(), lr=1e-2, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, (1e-6 / 1e-2) ** (1 / 6))
    for _ in range(6):
        order = draws.permutation(50)
        for rows in (order[:20], order[20:40]):
            wanted = torch.from_numpy(labels[rows])
            loss = F.cross_entropy(layer(torch.from_numpy(features[rows])), wanted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
    state = linear.state()
    np.testing.assert_allclose(state["weight"], layer.weight.detach().numpy(), atol=1e-5)
    np.testing.assert_allclose(state["bias"], layer.bias.detach().numpy(), atol=1e-5)
    expected = features @ state["weight"].T + state["bias"]
    np.testing.assert_allclose(linear.predict(features), expected, atol=1e-4)


def test_fewer_features_than_a_batch_are_one_batch():
    features, labels = np.eye(6, dtype=np.float32), np.arange(6) % 2
    linear = FeatureProbe(RawOptions(label_fraction=1.0, epochs=200, lr=0.1), 0)
    linear.fit(features, labels, 2)
    assert (linear.predict(features).argmax(axis=1) == labels).all()
