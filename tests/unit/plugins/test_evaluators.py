from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.optimize import approx_fprime
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from backbench.errors import StageError
from backbench.nn.knn import unit
from backbench.plugin import DatasetMetadata, Evaluator
from backbench.plugin.registry import load_registry
from backbench_evaluators.classifiers import (
    SGD,
    cross_entropy,
    labelled_subset,
    logits,
    named_images,
    standardization,
)
from backbench_evaluators.evaluator_options import (
    ClassifierOptions,
    FrozenOptions,
    KNNOptions,
    LinearOptions,
    ProbeOptions,
    RawOptions,
    labels_of_class,
)
from backbench_evaluators.knn import KNN
from backbench_evaluators.linear import FeatureProbe


@pytest.fixture(scope="module")
def clusters() -> tuple[np.ndarray, ...]:
    """Features (train, val) and labels of five overlapping clusters."""
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(5, 16))
    labels = np.arange(500) % 5
    features = centers[labels] + rng.normal(size=(500, 16)) * 1.2
    features = (features * 7 + 3).astype(np.float32)
    return features[:400], labels[:400], features[400:], labels[400:]


def fitted(evaluator: Evaluator, clusters: tuple[np.ndarray, ...]) -> Evaluator:
    evaluator.fit(clusters[0], clusters[1], 5)
    return evaluator


# -- the labelled subset -------------------------------------------------------------------


def test_the_same_share_of_each_class():
    labels = np.repeat([0, 1, 2], [100, 50, 3])
    chosen = labelled_subset(labels, 0.1, seed=0)
    assert np.bincount(labels[chosen]).tolist() == [10, 5, 1]
    assert np.array_equal(chosen, np.unique(chosen))
    assert np.array_equal(chosen, labelled_subset(labels, 0.1, seed=0))
    assert not np.array_equal(chosen, labelled_subset(labels, 0.1, seed=1))
    assert set(chosen) <= set(labelled_subset(labels, 0.3, seed=0))
    assert np.array_equal(labelled_subset(labels, 1.0, seed=0), np.arange(153))


SOURCES = ["a/1.jpg", "a/2.jpg", "b/1.jpg", "b/3.jpg"]


@pytest.mark.parametrize(
    ("names", "found"),
    [(["3.jpg", "2.jpg"], [1, 3]), (["b/1.jpg"], [2]), (["b/1.jpg", "a/1.jpg"], [0, 2])],
)
def test_a_list_names_images_by_the_ends_of_their_paths(names: list[str], found: list[int]):
    assert named_images(names, SOURCES, "list.txt").tolist() == found


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["2.jpg", "4.jpg"], "1 of 2 names are not .*: '4.jpg' is that of no training image"),
        (["1.jpg"], "'1.jpg' is that of 2 training images"),
        (["g/2.jpg"], "'g/2.jpg' is that of no training image"),
        (["2.jpg", "a/2.jpg"], "'a/2.jpg' is that of an image that is named already"),
    ],
)
def test_a_name_of_no_image_or_of_several_is_one_sentence(names: list[str], sentence: str):
    with pytest.raises(StageError, match=f"^list.txt: .*{sentence}"):
        named_images(names, SOURCES, "list.txt")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("", "names no image"), ("a\n\nb\na\n", "names 'a' 2 times"), (None, "no such file")],
)
def test_a_list_that_cannot_be_used_is_a_problem_of_the_file(
    tmp_path: Path, text: str | None, sentence: str
):
    if text is not None:
        (tmp_path / "list.txt").write_text(text, encoding="utf-8")
    with pytest.raises(ValidationError, match=sentence):
        KNNOptions.model_validate({"labels": "list.txt"}, context={"base": tmp_path})


def test_labels_of_a_list_and_no_others_are_used(tmp_path: Path, clusters: tuple[np.ndarray, ...]):
    path = tmp_path / "list.txt"
    path.write_text("7\n3\n\n11\n", encoding="utf-8")
    options = KNNOptions(k=3, labels=path)
    assert "labels" not in options.identity()  # its content is in the key, by itself
    assert options.files() == {"labels": path}
    assert options.labelled(DatasetMetadata(("a", "b"), 9, 9, None, (5, 4))) == 3
    evaluator = KNN(options, 0)
    evaluator.sources = [f"train/{index}" for index in range(400)]
    votes = fitted(evaluator, clusters).predict(clusters[2])
    shares = np.bincount(clusters[1][[3, 7, 11]], minlength=5) / 3
    assert np.allclose(votes, shares, atol=1e-3)  # but for what breaks ties


# -- linear --------------------------------------------------------------------------------


def test_features_are_normalized_then_standardized(clusters: tuple[np.ndarray, ...]):
    features = clusters[0].astype(np.float64)
    normalized = features / np.sqrt(np.square(features).sum(1, keepdims=True))
    mean, scale = standardization(unit(clusters[0]))
    assert np.allclose(mean, normalized.mean(0), atol=1e-6)
    variance = np.square(normalized - normalized.mean(0)).sum(0) / 399
    assert np.allclose(scale, 1 / np.sqrt(variance + 1e-5), rtol=1e-4)

    linear = fitted(FeatureProbe(LinearOptions(label_fraction=1.0), 0), clusters)
    scores = linear.predict(clusters[2])
    assert np.allclose(linear.predict(clusters[2] * 5), scores, atol=1e-3)
    assert scores.dtype == np.float32


def test_cross_entropy_and_its_gradient():
    rng = np.random.default_rng(1)
    inputs = rng.normal(size=(9, 4)).astype(np.float32)
    labels = rng.integers(0, 3, 9)
    weights = rng.normal(size=(5, 3)).astype(np.float32)
    loss, gradient = cross_entropy(weights, inputs, labels)

    def exact(flat: np.ndarray) -> float:
        table = flat.reshape(5, 3)
        scores = inputs.astype(np.float64) @ table[:-1] + table[-1]
        return float((np.log(np.exp(scores).sum(1)) - scores[np.arange(9), labels]).mean())

    assert loss == pytest.approx(exact(weights.astype(np.float64).ravel()), abs=1e-6)
    numeric = approx_fprime(weights.astype(np.float64).ravel(), exact, 1e-6).reshape(5, 3)
    assert np.allclose(gradient, numeric, atol=1e-4)


def test_lbfgs_finds_scikit_learns_minimum(clusters: tuple[np.ndarray, ...]):
    options = LinearOptions(label_fraction=1.0, penalty=0.01)
    scores = fitted(FeatureProbe(options, 0), clusters).predict(clusters[2])
    normalized = unit(clusters[0])
    mean, scale = standardization(normalized)
    peer = LogisticRegression(C=1 / (0.01 * 400), tol=1e-8, max_iter=2000)
    peer.fit((normalized - mean) * scale, clusters[1])
    expected = peer.predict_log_proba((unit(clusters[2]) - mean) * scale)
    found = scores - np.log(np.exp(scores).sum(1, keepdims=True))
    assert np.abs(found - expected).max() < 2e-3


@pytest.mark.parametrize("solver", ["lbfgs", "sgd"])
def test_solvers_learn_and_repeat(solver: str, clusters: tuple[np.ndarray, ...]):
    options = LinearOptions.model_validate(
        {"label_fraction": 1.0, "solver": solver}
        | ({"lr": 0.1, "batch_size": 64} if solver == "sgd" else {})
    )
    scores = fitted(FeatureProbe(options, 3), clusters).predict(clusters[2])
    assert (scores.argmax(1) == clusters[3]).mean() > 0.8
    assert np.array_equal(fitted(FeatureProbe(options, 3), clusters).predict(clusters[2]), scores)


def test_sgd_is_torchs(clusters: tuple[np.ndarray, ...]):
    """Momentum, decay and milestones, step by step, with one batch an epoch."""
    import torch

    options = LinearOptions(
        label_fraction=1.0, solver="sgd", batch_size=400, epochs=6, milestones=(2, 4),
        momentum=0.8, penalty=0.1, lr=0.5,
    )  # fmt: skip
    linear = fitted(FeatureProbe(options, 0), clusters)
    untrained = FeatureProbe(options.model_copy(update={"epochs": 0}), 0)
    start = fitted(untrained, clusters).state()
    layer = torch.nn.Linear(16, 5)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(start["weight"]))
        layer.bias.copy_(torch.from_numpy(start["bias"]))
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.5, momentum=0.8, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [2, 4])
    mean, scale = standardization(unit(clusters[0]))
    inputs = torch.from_numpy((unit(clusters[0]) - mean) * scale)
    for _ in range(6):
        loss = torch.nn.functional.cross_entropy(layer(inputs), torch.from_numpy(clusters[1]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    found = linear.state()
    assert np.allclose(found["weight"], layer.weight.detach().numpy(), atol=1e-4)
    assert np.allclose(found["bias"], layer.bias.detach().numpy(), atol=1e-4)
    assert np.abs(start["weight"]).max() <= 0.25


def test_logits():
    weights = np.float32([[1, 2], [3, 4], [10, 20]])
    assert logits(weights, np.float32([[1, 1]])).tolist() == [[14, 26]]


def test_a_class_without_images_is_never_predicted(clusters: tuple[np.ndarray, ...]):
    linear = FeatureProbe(LinearOptions(label_fraction=1.0), 0)
    linear.fit(clusters[0], clusters[1], 7)
    assert linear.predict(clusters[2]).shape == (100, 7)
    assert linear.predict(clusters[2]).argmax(1).max() < 5


def test_one_image_a_class_is_enough(clusters: tuple[np.ndarray, ...]):
    linear = fitted(FeatureProbe(LinearOptions(label_fraction=0.001), 0), clusters)
    assert np.isfinite(linear.predict(clusters[2])).all()


# -- k-NN ----------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 5, 20])
def test_votes_are_scikit_learns(k: int, clusters: tuple[np.ndarray, ...]):
    scores = fitted(KNN(KNNOptions(k=k), 0), clusters).predict(clusters[2])
    peer = KNeighborsClassifier(k, algorithm="brute").fit(unit(clusters[0]), clusters[1])
    shares = peer.predict_proba(unit(clusters[2]))
    assert np.abs(scores - shares).max() <= 1.01e-4
    untied = (shares == shares.max(1, keepdims=True)).sum(1) == 1
    assert np.array_equal(scores.argmax(1)[untied], shares.argmax(1)[untied])


def test_scale_does_not_matter(clusters: tuple[np.ndarray, ...]):
    knn = fitted(KNN(KNNOptions(k=5), 0), clusters)
    assert np.array_equal(knn.predict(clusters[2]), knn.predict(clusters[2] * 4))


def test_fewer_images_than_neighbors(clusters: tuple[np.ndarray, ...]):
    knn = fitted(KNN(KNNOptions(k=50, label_fraction=0.01), 0), clusters)
    assert np.isfinite(knn.predict(clusters[2])).all()


def test_problems():
    metadata = DatasetMetadata(("a", "b"), 60, 10, None, (30, 30))
    assert list(KNNOptions(k=60).problems(metadata)) == []
    assert list(KNNOptions(k=61).problems(metadata)) == [
        "k = 61 is more than the 60 labelled images: set it to at most 60"
    ]
    (problem,) = KNNOptions(k=10, label_fraction=0.1).problems(metadata)
    assert "the 6 labelled" in problem
    (problem,) = LinearOptions().problems(DatasetMetadata(("a",), 60, 10, None, (60,)))
    assert "two classes" in problem


# -- several numbers of neighbors, options, heads -------------------------------------------------


def test_one_number_has_one_head_and_a_list_has_several(clusters: tuple[np.ndarray, ...]):
    single = fitted(KNN(KNNOptions(k=5), 0), clusters).predict(clusters[2])
    several = fitted(KNN(KNNOptions(k=(5,)), 0), clusters).predict(clusters[2])
    assert isinstance(single, np.ndarray)
    assert list(several) == ["k=5"]
    assert np.array_equal(several["k=5"], single)


@pytest.mark.parametrize("k", ["x", 0, [], [0], [1.5], 1.5, [3, "a"], None])
def test_a_wrong_k_is_one_sentence(k: object):
    with pytest.raises(ValidationError, match="should be a whole number of at least 1") as error:
        KNNOptions.model_validate({"k": k})
    assert error.value.error_count() == 1
    with pytest.raises(ValidationError, match="lists a number twice"):
        KNNOptions.model_validate({"k": [1, 1]})


def test_the_largest_k_must_fit():
    metadata = DatasetMetadata(("a", "b"), 60, 10, None, (30, 30))
    assert list(KNNOptions(k=(1, 60)).problems(metadata)) == []
    (problem,) = KNNOptions(k=(61, 1)).problems(metadata)
    assert problem.startswith("k = 61 is more than the 60 labelled images")


@pytest.mark.parametrize("options", [FrozenOptions(), ProbeOptions(), RawOptions()])
def test_every_classifier_needs_two_classes(options: ClassifierOptions):
    (problem,) = options.problems(DatasetMetadata(("a",), 60, 10, None, (60,)))
    assert "two classes" in problem
    assert list(options.problems(DatasetMetadata(("a", "b"), 60, 10, None, (30, 30)))) == []


def test_nesterov_needs_momentum():
    with pytest.raises(ValidationError, match="requires momentum > 0"):
        FrozenOptions(nesterov=True, momentum=0)


def test_what_small_presets_were_is_what_they_are():
    """Their numbers are in results that have been published with this benchmark."""
    presets = {
        name: load_registry().find("evaluator", name).info.presets["small"]
        for name in ("linear", "knn")
    }
    assert presets == {"linear": {"label_fraction": 1.0}, "knn": {"k": 20}}
    assert KNNOptions.model_validate(presets["knn"]).identity() == {"label_fraction": 1.0, "k": 20}
    assert LinearOptions.model_validate(presets["linear"]).identity() == {
        "label_fraction": 1.0,
        "solver": "lbfgs",
        "penalty": 1e-4,
        "max_iterations": 500,
        "epochs": 40,
        "lr": 0.01,
        "milestones": [15, 30, 40],
        "momentum": 0.9,
        "batch_size": 256,
    }


def test_a_head_says_what_is_wrong_with_it(clusters: tuple[np.ndarray, ...]):
    linear = fitted(FeatureProbe(LinearOptions(label_fraction=1.0), 0), clusters)
    state = dict(linear.state())
    other = FeatureProbe(LinearOptions(), 1)
    with pytest.raises(ValueError, match="missing: bias; unknown: extra"):
        other.restore({**{k: v for k, v in state.items() if k != "bias"}, "extra": state["bias"]})
    with pytest.raises(ValueError, match=r"weight \(5, 16\) and bias \(4,\) do not belong"):
        other.restore({**state, "bias": state["bias"][:4]})
    with pytest.raises(ValueError, match="mean and scale are not of the inputs"):
        other.restore({**state, "mean": state["mean"][:4]})
    other.restore(state)
    assert np.array_equal(other.predict(clusters[2]), linear.predict(clusters[2]))
    with pytest.raises(
        StageError, match="the classifier reads 16 features, and the encoder gives 4"
    ):
        other.predict(clusters[2][:, :4])


@pytest.mark.parametrize(
    ("count", "fraction", "labelled"),
    [(1300, 0.01, 13), (1299, 0.01, 12), (732, 0.1, 73), (100, 0.29, 29), (5, 0.01, 1), (0, 1, 0)],
)
def test_a_share_of_labels_is_rounded_down(count: int, fraction: float, labelled: int) -> None:
    assert labels_of_class(count, fraction) == labelled


# -- SGD -----------------------------------------------------------------------------------


@pytest.mark.parametrize("nesterov", [False, True])
def test_steps_of_sgd_are_torchs(nesterov: bool):
    import torch

    rng = np.random.default_rng(4)
    weights = rng.normal(size=(5, 3)).astype(np.float32)
    peer = torch.from_numpy(weights.copy()).requires_grad_()
    sgd = SGD(weights, 0.8, 0.05, nesterov=nesterov)
    theirs = torch.optim.SGD([peer], lr=1, momentum=0.8, weight_decay=0.05, nesterov=nesterov)
    for lr in (0.3, 0.3, 0.1, 0.01):
        gradient = rng.normal(size=(5, 3)).astype(np.float32)
        sgd.step(gradient, lr)
        theirs.param_groups[0]["lr"] = lr
        peer.grad = torch.from_numpy(gradient)
        theirs.step()
    assert np.allclose(weights, peer.detach().numpy(), atol=1e-5)


def test_an_epoch_returns_its_mean_loss():
    inputs, labels = np.eye(5, dtype=np.float32), np.array([0, 1, 0, 1, 0])
    sgd = SGD(np.zeros((6, 2), dtype=np.float32), 0, 0)
    assert sgd.epoch(inputs, labels, np.arange(5), 2, 0.0, drop_last=False) == pytest.approx(
        np.log(2)
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"epochs": 100}, "epochs: read only by sgd, and solver is lbfgs"),
        ({"lr": 0.1, "epochs": 9}, "epochs: read only by sgd.*; lr: read only by sgd"),
        (
            {"solver": "sgd", "max_iterations": 9},
            "max_iterations: read only by lbfgs, and solver is sgd",
        ),
    ],
)
def test_an_option_that_the_solver_ignores_is_refused(given: dict[str, object], said: str):
    with pytest.raises(ValueError, match=said):
        LinearOptions.model_validate(given)


def test_the_defaults_of_the_other_solver_are_no_fault():
    """The stored options of a record name all of them."""
    stored = LinearOptions().model_dump()
    assert LinearOptions.model_validate(stored) == LinearOptions()
