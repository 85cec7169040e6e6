"""The published evaluators against independent formulas, torch's own parts, faiss and scikit-learn."""

from __future__ import annotations

import math

import faiss
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from backbench.images import ArrayImages
from backbench.nn import Backbone, Encoder, EncoderSpec
from backbench.nn.backbones import build_backbone
from backbench.options.backbones import BackboneOptions
from backbench.options.views import ViewOptions
from backbench.plugin import EvaluationContext
from backbench.plugin.registry import load_registry
from backbench.results.published_csv import per_class_csv
from backbench.seeds import derive
from backbench.views.batches import RaggedBatch, UniformBatch, reader_pool
from backbench.views.views import random_view
from backbench_evaluators.classifiers import labelled_subset
from backbench_evaluators.crops import CachedCropProbe, CropProbe, crop
from backbench_evaluators.evaluator_options import (
    CachedOptions,
    FrozenOptions,
    KNNOptions,
    ProbeOptions,
    RawOptions,
)
from backbench_evaluators.knn import KNN
from backbench_evaluators.layer_probe import StageProbe
from backbench_evaluators.linear import FeatureProbe

SIDE, CLASSES, SEED = 32, 3, 11


def preset(plugin: str, name: str) -> dict:
    return dict(load_registry().find("evaluator", plugin).info.presets[name])


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def full_precision(monkeypatch: pytest.MonkeyPatch):
    """Compute in float32 on processors with bfloat16, too."""
    monkeypatch.setattr("backbench.nn.cpu.has_bf16", lambda: False)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    """A ResNet-18 for 32 pixels with weights, and running statistics, that are not the trivial."""
    backbone = BackboneOptions(name="resnet18", stem="cifar").model_dump(mode="json")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = Encoder(EncoderSpec(backbone, SIDE, (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)))
        for module in made.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.uniform_(-0.2, 0.2)
                module.running_var.uniform_(0.7, 1.5)
    return made.eval()


@pytest.fixture(scope="module")
def images() -> ArrayImages:
    rng = np.random.default_rng(3)
    labels = np.arange(30) % CLASSES
    pixels = rng.integers(0, 150, (30, SIDE, SIDE, 3))
    pixels[np.arange(30), :, :, labels] += 100
    return ArrayImages(pixels.astype(np.uint8), labels, [f"train/{i}" for i in range(30)])


def context(seen: list | None = None) -> EvaluationContext:
    record = seen.append if seen is not None else lambda _: None
    return EvaluationContext(SEED, "cpu", CLASSES, lambda *values: record(values))


def floats(images: ArrayImages, rows: np.ndarray) -> Tensor:
    return torch.tensor(images.pixels[rows]).permute(0, 3, 1, 2).float() / 255


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


# -- Jigsaw's and RotNet's: five stages ----------------------------------------------------------


def hooked_maps(backbone: Backbone, images: Tensor) -> list[Tensor]:
    """Catch the maps in a plain forward pass, by hooks."""
    body, caught = backbone.body, []

    def catch(_module, _inputs, output):
        caught.append(output.clone())

    handles = [getattr(body, f"layer{i}").register_forward_hook(catch) for i in (1, 2, 3, 4)]
    handles.append(body.maxpool.register_forward_pre_hook(lambda _m, got: caught.append(got[0])))
    with torch.no_grad():
        backbone(images)
    for handle in handles:
        handle.remove()
    return caught


def test_five_maps_of_a_resnet_18_at_224():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        backbone = build_backbone(BackboneOptions(name="resnet18")).eval()
        images = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        maps = backbone.stage_maps(images)
    assert backbone.stages == ("stem", "layer1", "layer2", "layer3", "layer4")
    assert [tuple(one.shape[1:]) for one in maps] == [
        (64, 112, 112), (64, 56, 56), (128, 28, 28), (256, 14, 14), (512, 7, 7),
    ]  # fmt: skip
    for ours, theirs in zip(maps, hooked_maps(backbone, images), strict=True):
        torch.testing.assert_close(ours, theirs)
    with torch.no_grad():
        torch.testing.assert_close(maps[-1].mean((2, 3)), backbone(images))


def test_inputs_of_the_five_classifiers_at_224():
    spec = EncoderSpec(
        BackboneOptions(name="resnet18").model_dump(mode="json"), 224, (0.5,) * 3, (0.5,) * 3
    )
    rng = np.random.default_rng(0)
    images = ArrayImages(
        rng.integers(0, 256, (2, 224, 224, 3), dtype=np.uint8), np.array([0, 1]), ["a", "b"]
    )
    with torch.random.fork_rng(devices=[]):
        encoder = Encoder(spec).eval()
    for name in ("saha2022-jigsaw", "saha2022-rotnet"):
        options = ProbeOptions.model_validate(preset("layer-probe", name) | {"epochs": 1})
        probe = StageProbe(options, EvaluationContext(0, "cpu", 100, lambda *_: None))
        probe.fit(encoder, images)
        inputs = {
            name: array.shape for name, array in probe.state().items() if name.endswith("weight")
        }
        assert inputs == {
            "stem.weight": (100, 9216),
            "layer1.weight": (100, 9216),
            "layer2.weight": (100, 8192),
            "layer3.weight": (100, 9216),
            "layer4.weight": (100, 8192),
        }


def torch_probes(*, rotnet: bool) -> list[nn.Sequential]:
    """Make the published classifiers of torch's layers, with the start that ours has."""
    draws = np.random.default_rng(derive(SEED, "start"))
    probes = []
    # of maps of 32², 32², 16², 8², 4²
    for side, width in ((12, 64), (12, 64), (8, 128), (6, 256), (4, 512)):
        inputs = width * side * side
        layer = nn.utils.skip_init(nn.Linear, inputs, CLASSES)
        if rotnet:
            start = draws.normal(0, math.sqrt(2 / CLASSES), (inputs + 1, CLASSES))
            start[-1] = 0
        else:
            start = draws.uniform(-1, 1, (inputs + 1, CLASSES)) / math.sqrt(inputs)
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(start[:-1].T))
            layer.bias.copy_(torch.from_numpy(start[-1]))
        norm = [nn.BatchNorm2d(width, affine=False)] if rotnet else []
        probes.append(nn.Sequential(nn.AdaptiveAvgPool2d(side), *norm, nn.Flatten(), layer))
    return probes


def torch_training(
    probes: list[nn.Sequential], encoder: Encoder, images: ArrayImages, *, rotnet: bool
) -> None:
    """Train them for two epochs of batches of 12, 12 and 6 images."""
    settings = {"weight_decay": 5e-4, "nesterov": True} if rotnet else {"weight_decay": 1e-4}
    parameters = [one for probe in probes for one in probe.parameters()]
    optimizer = torch.optim.SGD(parameters, lr=0.003, momentum=0.9, **settings)
    gamma = 0.2 if rotnet else 0.1
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [1], gamma=gamma)
    views = ViewOptions(scale=(0.08, 1), jitter=0, grayscale=0, blur=0)
    for epoch in range(2):
        order = np.random.default_rng(derive(SEED, "order", epoch)).permutation(30)
        for rows in np.split(order, [12, 24]):
            pixels = torch.tensor(images.pixels[rows])
            batch = UniformBatch(pixels, rows, epoch=epoch, seed=derive(SEED, "views"))
            seen = crop(batch, SIDE) if rotnet else random_view(batch, views, SIDE, 0)
            maps = hooked_maps(encoder.backbone, (seen - encoder.mean) / encoder.std)
            wanted = torch.tensor(images.labels[rows])
            loss = sum(F.cross_entropy(one(x), wanted) for one, x in zip(probes, maps, strict=True))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()


@pytest.mark.parametrize("recipe", ["saha2022-jigsaw", "saha2022-rotnet"])
def test_probes_are_torchs_layers(recipe: str, encoder: Encoder, images: ArrayImages):
    """AdaptiveAvgPool2d, BatchNorm2d(affine=False) or none, Linear: all five learn at once."""
    changes = {"label_fraction": 1.0, "epochs": 2, "batch_size": 12, "milestones": [1], "lr": 0.003}
    options = ProbeOptions.model_validate(preset("layer-probe", recipe) | changes)
    probe = StageProbe(options, context())
    probe.fit(encoder, images)
    state, found = probe.state(), probe.predict(encoder, images)
    rotnet = recipe.endswith("rotnet")
    peers = torch_probes(rotnet=rotnet)
    torch_training(peers, encoder, images, rotnet=rotnet)

    whole = (floats(images, np.arange(30)) - encoder.mean) / encoder.std
    maps = hooked_maps(encoder.backbone, whole)
    for name, peer, x in zip(encoder.backbone.stages, peers, maps, strict=True):
        layer = peer[-1]
        np.testing.assert_allclose(state[f"{name}.weight"], layer.weight.detach(), atol=1e-5)
        np.testing.assert_allclose(state[f"{name}.bias"], layer.bias.detach(), atol=1e-5)
        if rotnet:
            np.testing.assert_allclose(state[f"{name}.mean"], peer[1].running_mean, atol=1e-5)
            np.testing.assert_allclose(state[f"{name}.variance"], peer[1].running_var, rtol=1e-4)
        with torch.no_grad():
            expected = peer.eval()(x).numpy()
        np.testing.assert_allclose(found[name], expected, atol=2e-3)


@pytest.mark.parametrize("size", [(375, 500), (300, 280), (256, 256)])
def test_rotnets_crop_is_pillows(size: tuple[int, int]):
    """Resize(256), RandomCrop(224), flip: the same square of the resized image."""
    rng = np.random.default_rng(1)
    coarse = rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)
    image = np.asarray(Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC))
    with reader_pool() as pool:
        batch = RaggedBatch(
            [image] * 8, np.arange(8), epoch=0, seed=5, device=torch.device("cpu"), pool=pool
        )
        views = crop(batch, 224).permute(0, 2, 3, 1).numpy()
    height, width = size
    short = min(size)
    whole = Image.fromarray(image).resize(
        (width * 256 // short, height * 256 // short), Image.Resampling.BILINEAR
    )
    resized = np.asarray(whole, dtype=np.float32) / 255
    corners = set()
    for view in views:
        errors = {
            (top, left, flipped): np.abs((view[:, ::-1] if flipped else view) - square).max()
            for top in range(resized.shape[0] - 223)
            for left in range(resized.shape[1] - 223)
            for flipped in (False, True)
            for square in [resized[top : top + 224, left : left + 224]]
            if np.abs(view[0, -1 if flipped else 0] - square[0, 0]).max() < 0.02
        }
        best = min(errors, key=errors.get)
        assert errors[best] < 0.02
        corners.add(best)
    assert len(corners) > 4
    assert {flipped for *_, flipped in corners} == {False, True}


# -- learning rates of every epoch ---------------------------------------------------------------


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


# -- k-NN ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clusters() -> tuple[np.ndarray, ...]:
    """Features and labels of seven overlapping clusters: training, validation."""
    rng = np.random.default_rng(0)
    labels = np.arange(900) % 7
    features = rng.normal(size=(7, 12))[labels] + 1.5 * rng.normal(size=(900, 12))
    features = features.astype(np.float32)
    return features[:700], labels[:700], features[700:], labels[700:]


def test_one_search_gives_the_votes_of_every_k(clusters: tuple[np.ndarray, ...]):
    train, labels, val, _ = clusters
    knn = KNN(KNNOptions(k=(1, 20, 50)), 0)
    knn.fit(train, labels, 7)
    found = knn.predict(val)
    assert list(found) == ["k=1", "k=20", "k=50"]
    own, others = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (train, val))
    for k in (1, 20, 50):
        alone = KNN(KNNOptions(k=k), 0)
        alone.fit(train, labels, 7)
        np.testing.assert_array_equal(found[f"k={k}"], alone.predict(val))

        peer = KNeighborsClassifier(k, algorithm="brute").fit(own, labels)
        shares = peer.predict_proba(others)
        untied = (shares == shares.max(axis=1, keepdims=True)).sum(axis=1) == 1
        assert untied.mean() > 0.5
        predicted = found[f"k={k}"].argmax(axis=1)
        np.testing.assert_array_equal(predicted[untied], shares.argmax(axis=1)[untied])

        _, nearest = faiss.knn(others.astype(np.float32), own.astype(np.float32), k)
        votes = np.stack([np.bincount(labels[row], minlength=7) for row in nearest])
        np.testing.assert_allclose(found[f"k={k}"], votes / k, atol=1.01e-4)
        for row in np.flatnonzero(~untied):  # the class of the nearest among the tied
            tied = votes[row] == votes[row].max()
            assert predicted[row] == next(c for c in labels[nearest[row]] if tied[c])


# -- the per-class table -------------------------------------------------------------------------

CLEAN = np.array([[45, 3, 2], [0, 50, 0], [5, 5, 40]])
TRIGGERED = np.array([[10, 40, 0], [0, 50, 0], [1, 48, 1]])

GOLDEN = """\
Model a/b/moco;x/checkpoint,,Clean val,,,,Pois. val,,
Data lists/val.txt,,acc1,,,,acc1,,
,,90.00,,,,40.67,,
class name,class id,TP,FP,,TP,FP
robin; American robin,0,45.0,5.0,,10.0,1.0
Rottweiler,1,50.0,8.0,,50.0,88.0
laptop,2,40.0,2.0,,1.0,0.0
"""

GOLDEN_WITHOUT_ATTACK = """\
Model ,,Clean val,,,,Pois. val,,
Data ,,acc1,,,,acc1,,
,,90.00,,,,,,
class name,class id,TP,FP,,TP,FP
robin; American robin,0,45.0,5.0,,,
Rottweiler,1,50.0,8.0,,,
laptop,2,40.0,2.0,,,
"""


def test_table_to_the_character():
    names = ["robin, American robin", "Rottweiler", "laptop"]
    model, data = "a/b/moco,x/checkpoint", "lists/val.txt"
    assert per_class_csv(names, CLEAN, TRIGGERED, model=model, data=data) == GOLDEN
    assert per_class_csv(names, CLEAN, None, model="", data="") == GOLDEN_WITHOUT_ATTACK
