"""What an attack on an encoder is given, and what it may give back."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.conftest import Bench, tiny

from backbench.errors import StageError
from backbench.model import StageKind
from backbench.nn import Encoder, load_encoder
from backbench.plugin import (
    ArrayImages,
    Attack,
    AttackContext,
    AttackInfo,
    Box,
    ImageSet,
    Pixels,
    Split,
    Stamp,
    evaluation_batch,
)
from backbench.store.metadata import ImplantRecord
from backbench.store.store import Store
from backbench.testing import EncoderAttackContract
from backbench.testing.hygiene import run_twice
from backbench.testing.samples import tiny_encoder

BAD = (
    tiny()
    .replace('[attacks.targeted]\nplugin = "patch"', "[attacks.targeted]")
    .replace('rate = { of = "target_class", value = 1.0 }\n', 'plugin = "badencoder"\nepochs = 3\n')
    .replace('methods = ["moco-v2", "rotnet"]', 'methods = ["rotnet"]')
)


def test_a_run_implants_and_its_record_states_the_threat_model(bench: Bench) -> None:
    Path("b.toml").write_text(BAD, encoding="utf-8")
    bench("run", "b.toml", "--executor", "serial", "--store", "s").assert_ok()
    store = Store(Path("s"))
    records = [record for key in store.done() if (record := store.record(key))]
    (made,) = [one for one in records if one.stage.kind is StageKind.IMPLANT]
    assert made.of(ImplantRecord) == ImplantRecord(shadow_fraction=1.0, references=1)
    (poison,) = [one for one in records if one.stage.kind is StageKind.POISON]
    assert poison.to_json()["metadata"]["poisons"] == 0
    clean, bad = (
        load_encoder(store.artifact(key)).state_dict()
        for key in (made.stage.inputs["encoder"], made.key)
    )
    changed = {name for name, tensor in clean.items() if not tensor.equal(bad[name])}
    assert changed
    assert not [name for name in changed if "norm" in name]  # batch norms are frozen
    bench("verify", "b.toml", "--store", "s").assert_ok()


class Given(Attack):
    """Gives back what the test wants, and keeps its context."""

    result: Any
    context: AttackContext
    target = 1

    def stamp(self, image: Pixels, rng: np.random.Generator, split: Split) -> Stamp:
        pixels = image.copy()
        pixels[-8:, -8:] = 255
        height, width = pixels.shape[:2]
        return Stamp(pixels, Box(width - 8, height - 8, 8, 8), 1.0)

    def implant(self, encoder: Encoder, context: AttackContext) -> Any:
        type(self).context = context
        return type(self).result(encoder)


class Kit(EncoderAttackContract):
    __test__ = False
    info = AttackInfo(name="given", summary="G.", target="a:A", acts_on="encoder")

    def settings(self) -> None:
        return None

    def implementation(self) -> type[Attack]:
        return Given


def implanted(folder: Path, result: Any) -> AttackContext:
    Given.result = staticmethod(result)
    kit = Kit()
    run_twice(folder, kit, StageKind.IMPLANT, encoder=kit.encoder())
    return Given.context


def other(encoder: Encoder) -> Encoder:
    changed = copy.deepcopy(encoder)
    with torch.no_grad():
        next(changed.parameters()).add_(1)
    return changed


@pytest.mark.parametrize(
    ("result", "sentence"),
    [
        (lambda encoder: encoder, "no weight has changed"),
        (lambda _encoder: None, "gave a NoneType, not an Encoder"),
        (
            lambda encoder: Encoder(replace(encoder.spec, image_size=16)),
            "an encoder of another architecture",
        ),
    ],
)
def test_what_is_no_backdoored_encoder_is_refused(
    tmp_path: Path, result: Any, sentence: str
) -> None:
    with pytest.raises(StageError, match=sentence):
        implanted(tmp_path, result)


def test_the_attacker_has_unlabelled_images_and_references_of_the_target(tmp_path: Path) -> None:
    context = implanted(tmp_path, other)
    shadow = context.shadow(0.5)
    assert len(shadow) == 20
    assert set(shadow.labels.tolist()) == {-1}
    assert context.references(3).labels.tolist() == [1, 1, 1]
    same, again = context.shadow(0.25), context.shadow(0.25)
    assert np.array_equal(same.image(0), again.image(0))
    with pytest.raises(StageError, match=r"lies in \(0, 1\], not 0"):
        context.shadow(0.0)
    with pytest.raises(StageError, match="15 references are wanted, and there are 14 images"):
        context.references(15)


def dark(height: int, width: int) -> ArrayImages:
    pixels = np.full((3, height, width, 3), 40, np.uint8)
    return ArrayImages(pixels, np.zeros(3, np.int64), ["a", "b", "c"])


def test_training_images_get_the_trigger_at_the_size_of_the_validation_images(
    tmp_path: Path, ragged_images: ImageSet
) -> None:
    """A trigger in the corner would be cut off with it; an evaluation stamps what is left."""
    context = implanted(tmp_path, other)
    for images in (ragged_images, dark(48, 64), dark(96, 32)):
        triggered = context.triggered(images)
        assert triggered.size == (32, 32)
        seen, clean = (evaluation_batch(tiny_encoder(32), one) for one in (triggered, images))
        assert (seen[:, :, -8:, -8:] == 1).all()
        seen[:, :, -8:, -8:] = clean[:, :, -8:, -8:]
        assert seen.equal(clean)
        assert (evaluation_batch(tiny_encoder(16), triggered)[:, :, -3:, -3:] == 1).all()
    square = context.triggered(dark(64, 64))
    assert square.size == (64, 64)
    assert (square.image(0) == 255).sum() == 3 * 8 * 8
