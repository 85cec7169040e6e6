"""A part of the training images to choose on."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from backbench.model import StageKind
from backbench.plugin import selection_split
from backbench.seeds import derive
from backbench.stages.task import Task
from backbench.testing import METADATA
from backbench_evaluators.evaluator_options import LinearOptions
from backbench_evaluators.linear import FeatureProbe


def test_a_selection_split_is_a_share_of_each_class():
    labels = np.repeat([0, 1, 2, 5], [10, 5, 1, 2])
    own, apart = selection_split(labels, 0.2, 7)
    assert np.array_equal(np.sort(np.concatenate([own, apart])), np.arange(18))
    assert np.bincount(labels[apart], minlength=6).tolist() == [2, 1, 0, 0, 0, 1]
    assert (np.diff(own) > 0).all()
    assert (np.diff(apart) > 0).all()
    again = selection_split(labels, 0.2, 7)
    assert all(np.array_equal(a, b) for a, b in zip((own, apart), again, strict=True))
    assert set(apart) < set(selection_split(labels, 0.5, 7)[1])
    assert not np.array_equal(apart, selection_split(labels, 0.2, 8)[1])
    assert len(selection_split(np.full(10, -1), 0.3, 0)[1]) == 3
    assert len(selection_split(labels, 0.999, 0)[0]) == 4
    for wrong in (0, 1, -0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match="must be in"):
            selection_split(labels, wrong, 0)


def noisy(seed, count):
    """Two classes that one of 40 features tells apart: with few images a penalty helps."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    features = rng.standard_normal((count, 40)).astype(np.float32)
    features[:, 0] += 2.0 * labels
    return features, labels


def test_a_penalty_is_chosen_on_training_images():
    features, labels = noisy(0, 60)
    penalties = (0.1, 1e-6, 10.0)
    options = LinearOptions(label_fraction=1.0, penalty=penalties)
    several = FeatureProbe(options, 3)
    several.fit(features, labels, 2)
    said = several.selection()
    own, apart = selection_split(labels, 0.2, derive(3, "penalty"))
    accuracies = {}
    for penalty in penalties:
        one = FeatureProbe(LinearOptions(label_fraction=1.0, penalty=penalty), 3)
        one.fit(features[own], labels[own], 2)
        right = one.predict(features[apart]).argmax(axis=1) == labels[apart]
        accuracies[str(penalty)] = right.mean()
        assert one.selection() == {}
    assert said["images"] == len(apart) == 12
    assert said["accuracy"] == pytest.approx(accuracies)
    best = max(accuracies.values())
    assert said["penalty"] == max(p for p in penalties if accuracies[str(p)] == best)
    assert len(set(accuracies.values())) > 1
    # learnt again from all the labelled images
    alone = FeatureProbe(LinearOptions(label_fraction=1.0, penalty=said["penalty"]), 3)
    alone.fit(features, labels, 2)
    for name, array in alone.state().items():
        np.testing.assert_array_equal(array, several.state()[name])
    json.dumps(dict(said))


def test_options_of_one_penalty_are_what_they_were():
    """No key moves: a number stays a number."""
    assert LinearOptions().identity()["penalty"] == 1e-4
    assert LinearOptions(penalty=0).identity()["penalty"] == 0
    assert LinearOptions(penalty=[0.1, 0.2]).identity()["penalty"] == [0.1, 0.2]
    for wrong in ([], [0.1, 0.1], -1, [0.1, -1], "x", True, float("inf")):
        with pytest.raises(ValidationError) as raised:
            LinearOptions(penalty=wrong)
        assert raised.value.error_count() == 1
    few = replace(METADATA, train_per_class=(9, 9, 9))
    assert list(LinearOptions(penalty=1.0).problems(few)) == []
    (said,) = LinearOptions(penalty=[0.1, 1.0]).problems(few)
    assert said.startswith("penalty: no class has two labelled images")
    assert list(LinearOptions(penalty=[0.1, 1.0], label_fraction=0.5).problems(few)) == []


def test_the_record_says_what_was_chosen(world, monkeypatch):
    stage = world.one(StageKind.FIT, "clean")
    options = LinearOptions(label_fraction=1.0, penalty=(1e-4, 1e-2))
    info = world.registry.find("evaluator", "linear").info
    monkeypatch.setattr(Task, "plugin", lambda _: (FeatureProbe, options, info))
    selection = world.run(replace(stage, seed=17)).metadata.selection
    assert selection["penalty"] in options.penalty
    assert set(selection["accuracy"]) == {"0.0001", "0.01"}
    monkeypatch.undo()
    assert world.again(stage).metadata.selection == {}
