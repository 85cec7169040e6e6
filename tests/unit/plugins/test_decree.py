"""DECREE separates an encoder with a small trigger from others, and states where it found none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from backbench.plugin import DefenseContext, Encoder
from backbench.testing import METADATA, ModelDefenseContract
from backbench_defenses.decree import Decree, batches
from backbench_defenses.decree_options import DecreeOptions

OPTIONS = {"clean_fraction": 1.0, "epochs": 60, "batch_size": 20, "milestones": [30, 50]}


class Kit(ModelDefenseContract):
    __test__ = False


def context() -> DefenseContext:
    return Kit().context()


class OneCorner(Encoder):
    """Maps images to two numbers: one is large where the top-left corner is white."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        corner = (images[:, :, :2, :2] - 0.5).clamp(min=0).mean(dim=(1, 2, 3))
        noise = images[:, :, 8:].flatten(1)[:, ::97] - 0.5
        return torch.cat([40 * corner[:, None], noise], dim=1)


def test_a_corner_that_makes_all_images_alike_is_found() -> None:
    encoder = Kit().encoder()
    backdoored = OneCorner(encoder.spec).eval()
    options = DecreeOptions.model_validate(OPTIONS | {"epochs": 150})
    verdict = Decree(options).inspect(backdoored, context())
    assert verdict.numbers["works"] == 1
    assert verdict.score == options.threshold - verdict.numbers["pl1"] > 0
    mask = verdict.evidence["mask"]
    assert verdict.numbers["pl1"] == pytest.approx(mask.mean())
    assert mask[:2, :2].mean() > 5 * mask.mean()
    assert verdict.evidence["pattern"][:, :2, :2].mean() > 0.8
    assert verdict.numbers["similarity"] > 0.99


def test_where_no_trigger_works_the_encoder_is_not_accused() -> None:
    options = DecreeOptions.model_validate(OPTIONS | {"epochs": 2, "similarity": 0.999999})
    verdict = Decree(options).inspect(Kit().encoder(), context())
    assert (verdict.numbers["works"], verdict.numbers["pl1"]) == (0, 1)
    assert verdict.score == pytest.approx(options.threshold - 1)


def test_the_search_ends_when_the_mask_gets_no_smaller() -> None:
    options = DecreeOptions.model_validate(OPTIONS | {"similarity": 0.999999, "stop_after": 3})
    verdict = Decree(options).inspect(Kit().encoder(), context())
    assert verdict.numbers["epochs"] == 3


def test_another_seed_starts_from_another_trigger() -> None:
    options = DecreeOptions.model_validate(OPTIONS | {"epochs": 1})
    found = [
        Decree(options).inspect(Kit().encoder(), replace(context(), seed=seed)).evidence["mask"]
        for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])


def test_a_last_batch_of_a_single_image_is_left_out() -> None:
    assert batches(np.arange(5), 2) == [[0, 1], [2, 3]]
    assert batches(np.arange(6), 4) == [[0, 1, 2, 3], [4, 5]]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"milestones": [5, 4]}, "they must not fall"),
        ({"lr": [0.1, 0, 0.1]}, "learning rates are above 0"),
        ({"betas": [0.5, 1.0]}, r"momenta lie in \[0, 1\)"),
    ],
)
def test_options_that_cannot_be_are_refused(given: dict[str, list[float]], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        DecreeOptions.model_validate(given)


def test_a_single_trusted_image_is_refused() -> None:
    found = list(DecreeOptions(clean_fraction=0.02).problems(METADATA))
    assert found == [
        "clean_fraction = 0.02 of 40 training images is fewer than two: make it larger"
    ]
    assert not list(DecreeOptions(clean_fraction=0.5).problems(METADATA))
