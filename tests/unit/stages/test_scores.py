"""What plugins return stops where it appears, if it is not finite or of another form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from backbench.errors import ResultError
from backbench.model import StageKind
from backbench.nn.knn import knn_votes
from backbench.plugin import Evaluator, ImageEvaluator
from backbench.stages.scores import (
    checked_report,
    checked_scores,
    checked_selection,
    checked_state,
    rounded,
)
from backbench.testing import EvaluatorContract, ImageEvaluatorContract
from backbench.testing.base import installed
from backbench.testing.hygiene import run_twice


def test_a_report_is_finite_numbers_by_name() -> None:
    given = {"loss": np.float32(0.5), "kept.share": 1, "k=1": -2.0}
    assert checked_report(given, "the defense") == {"loss": 0.5, "kept.share": 1.0, "k=1": -2.0}
    assert checked_report({}, "the defense") == {}


@pytest.mark.parametrize(
    ("report", "sentence"),
    [
        ([1.0], "must report at most 100 numbers by name"),
        ({str(number): 0.0 for number in range(101)}, "must report at most 100 numbers by name"),
        ({"a b": 1.0}, "reports a number called 'a b': use letters"),
        ({3: 1.0}, "reports a number called 3: use letters"),
        ({"a": float("nan")}, "reports a = nan: it must be a finite number"),
        ({"a": True}, "reports a = True: it must be a finite number"),
        ({"a": 10**400}, "it must be a finite number"),
        ({"a": "1"}, "reports a = '1': it must be a finite number"),
    ],
)
def test_a_report_of_another_form_is_one_sentence(report: Any, sentence: str) -> None:
    with pytest.raises(ResultError) as caught:
        checked_report(report, "the defense")
    assert str(caught.value).startswith("the defense ")
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("scores", "sentence"),
    [
        (np.ones((2, 3)), "of shape (2, 3) for 3 images and 2 classes: it must be (3, 2)"),
        (np.ones(3), "of shape (3,) for 3 images"),
        ([[0, 1], [1, 0]], "of shape (2, 2)"),
        (None, "of type object"),
        (np.ma.masked_less(np.eye(3)[:, :2], 1), "of which some are masked"),
        (np.full((3, 2), "a"), "of type <U1"),
        (np.ones((3, 2), dtype=complex), "of type complex128"),
        ([[0, 1], [1]], "of which no array can be made"),
        (torch.ones((3, 2), requires_grad=True), "of which no array can be made"),
        ([[0, 1], [np.nan, 0], [np.inf, 1]], "not finite for 2 of 3 images, the first of them i"),
    ],
)
def test_scores_of_another_form_are_one_sentence(scores: Any, sentence: str) -> None:
    with pytest.raises(ResultError) as caught:
        checked_scores(scores, (3, 2), "the evaluator")
    assert str(caught.value).startswith("the evaluator gave scores ")
    assert sentence in str(caught.value)


@pytest.mark.parametrize("kind", [bool, np.int64, np.float16, np.float64, list])
def test_scores_may_be_any_real_numbers(kind: Any) -> None:
    table = np.array([[0, 1], [1, 0]])
    given = table.tolist() if kind is list else table.astype(kind)
    assert checked_scores(given, (2, 2), "it").tolist() == table.tolist()


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        (np.ones(3), "gave as state a ndarray"),
        ({1: np.ones(3)}, "gave state of the name 1: a name is printable text"),
        ({"": np.ones(3)}, "gave state of the name ''"),
        ({"\x1b[31m": np.ones(3)}, r"gave state of the name '\x1b[31m'"),
        ({"\udc80": np.ones(3)}, r"gave state of the name '\udc80'"),
        ({"__metadata__": np.ones(3)}, "and not '__metadata__'"),
        ({"w": np.full(2, np.finfo(np.longdouble).max)}, "not finite: w"),
        ({"w": np.array([1.0, np.nan]), "b": np.ones(1)}, "not finite: w"),
        ({"w": object()}, "the array 'w' of type object"),
    ],
)
def test_a_fitted_state_of_another_form_is_one_sentence(state: Any, sentence: str) -> None:
    with pytest.raises(ResultError) as caught:
        checked_state(state, "the evaluator")
    assert sentence in str(caught.value)


def test_a_state_of_every_type_can_be_read_back(tmp_path: Path) -> None:
    kinds: tuple[Any, ...] = (
        bool,
        np.int8,
        np.uint64,
        np.float16,
        ">f4",
        np.float64,
        np.longdouble,
    )
    state = {str(index): np.ones((2, 3), kind)[:, ::2] for index, kind in enumerate(kinds)}
    save_file(checked_state(state, "the evaluator"), tmp_path / "state.safetensors")
    read = load_file(tmp_path / "state.safetensors")
    assert read.keys() == state.keys()
    assert all(np.array_equal(read[name], array) for name, array in state.items())


@pytest.mark.parametrize(
    ("selection", "sentence"),
    [
        (None, "gave as selection a NoneType: it must be by name"),
        ([("penalty", 1)], "gave as selection a list"),
        ({"penalty": np.float32(1)}, "penalty is a float32, which JSON cannot hold"),
        ({"__metadata__": 1}, "gave selection of the name '__metadata__'"),
    ],
)
def test_a_selection_of_another_form_is_one_sentence(selection: Any, sentence: str) -> None:
    with pytest.raises(ResultError) as caught:
        checked_selection(selection, "the evaluator")
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("greatest", "kind"), [(32000, np.float16), (-65536, np.float32), (1e300, np.float64)]
)
def test_scores_are_stored_in_a_type_that_holds_them(greatest: float, kind: Any) -> None:
    assert rounded(np.array([[greatest, 0.0]])).dtype == kind
    assert rounded(np.empty((0, 3))).dtype == np.float16


def test_rounding_keeps_the_class_that_was_predicted() -> None:
    neighbors = np.array([[1, 0], [0, 1], [2, 2]])  # two ties, which the nearest decides
    votes = knn_votes(neighbors, 3)
    stored = rounded(votes)
    assert stored.dtype == np.float16
    assert stored.argmax(axis=1).tolist() == votes.argmax(axis=1).tolist() == [1, 0, 2]
    np.testing.assert_allclose(stored, votes, atol=1e-3)
    near = np.array([[32000.0, 32001.0], [0.0, -1.0]])
    assert rounded(near).dtype == np.float16
    assert rounded(near).argmax(axis=1).tolist() == [1, 0]


class Constant(Evaluator):
    def fit(self, features: Any, labels: Any, classes: int) -> None:
        self.classes = classes

    def predict(self, features: Any) -> Any:
        return np.zeros((len(features), self.classes))


class NaN(Constant):
    def predict(self, features: Any) -> Any:
        return super().predict(features) / np.float64("nan")


class Learns(Constant):
    def state(self) -> Any:
        return {"w": np.array([np.inf])}


class Selects(Constant):
    def selection(self) -> Any:
        return {"penalty": {"best": float("nan")}}


class Nameless(Constant):
    def predict(self, features: Any) -> Any:
        return {"a b": super().predict(features)}


class Relabels(Constant):
    def fit(self, features: Any, labels: Any, classes: int) -> None:
        labels[:] = 0


class OfFeatures(EvaluatorContract):
    info = installed().find("evaluator", "knn").info
    options = {"k": 3}  # noqa: RUF012 - as authors write it


class OfImages(ImageEvaluatorContract):
    info = installed().find("evaluator", "linear-augmented").info


class Sees(ImageEvaluator):
    def fit(self, encoder: Any, images: Any) -> None:
        assert len(images.labels)

    def predict(self, encoder: Any, images: Any) -> Any:
        return np.zeros((len(images), self.context.classes))


class Brightens(Sees):
    def fit(self, encoder: Any, images: Any) -> None:
        images.pixels[:] = 0


class Trains(Sees):
    def predict(self, encoder: Any, images: Any) -> Any:
        encoder.train()
        return super().predict(encoder, images)


class Prunes(Sees):
    def predict(self, encoder: Any, images: Any) -> Any:
        next(encoder.parameters()).data[0] = 0
        return super().predict(encoder, images)


def stage_of(made: type[Evaluator | ImageEvaluator], folder: Path) -> None:
    base: Any = OfFeatures if issubclass(made, Evaluator) else OfImages
    contract = type("Contract", (base,), {"implementation": lambda _: made})()
    run_twice(folder, contract, StageKind.PREDICT, **contract.reads())


@pytest.mark.parametrize(
    ("implementation", "sentence"),
    [
        (NaN, "the evaluator (clean) gave scores that are not finite for 90 of 90 images"),
        (Learns, "the evaluator learned numbers that are not finite: w"),
        (Selects, "the selection of the evaluator: penalty.best is nan, which JSON cannot hold"),
        (Nameless, "a variant is called 'a b'"),
        (Relabels, "read-only"),
        (Brightens, "read-only"),
        (Trains, "the evaluator changed the mode of the encoder"),
        (Prunes, "the evaluator changed 1 tensors (backbone.body.stem.weight, …) of the encoder"),
    ],
)
def test_a_broken_evaluator_stops_its_stage(
    tmp_path: Path, implementation: type[Evaluator | ImageEvaluator], sentence: str
) -> None:
    stage_of(Constant if issubclass(implementation, Evaluator) else Sees, tmp_path / "right")
    with pytest.raises((ResultError, ValueError)) as caught:
        stage_of(implementation, tmp_path / "wrong")
    assert sentence in str(caught.value)
