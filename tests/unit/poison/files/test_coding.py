"""The files carry the trigger: a coding that would erase it is not chosen, and is refused."""

import json

import numpy as np
import pytest
from PIL import Image
from scipy.fft import dctn

TOML = """
[datasets.pets]
plugin = "image-folder"
root = "pets"
val_size = 64

[attacks.ctrl]
target = "cat"
rate = { of = "target_class", value = 1.0 }
magnitude = 50
"""


@pytest.fixture
def pets(tmp_path):
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            folder = tmp_path / "pets" / split / name
            folder.mkdir(parents=True)
            for i in range(3):
                pixels = rng.integers(80, 176, (64, 64, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.png")
    file = tmp_path / "pets.toml"
    file.write_text(TOML)
    return file


def coefficients(path):
    """Return the coefficients (15, 15) and (31, 31) of U and V in the four windows, (4, 2, 2)."""
    pixels = np.asarray(Image.open(path)).astype(np.float64)
    to_uv = np.array([[-0.147, -0.289, 0.436], [0.615, -0.515, -0.1]])
    blocks = (pixels @ to_uv.T).reshape(2, 32, 2, 32, 2).transpose(0, 2, 4, 1, 3)
    found = dctn(blocks.reshape(4, 2, 32, 32), axes=(2, 3), norm="ortho")
    return found[..., [15, 31], [15, 31]]


def test_the_written_files_have_the_coefficients_of_ctrl(pets, bench):
    bench("poison", str(pets), "--out", "out", "--reencode-clean").assert_ok()
    assert json.loads((pets.parent / "out/poison.json").read_text())["request"]["format"] == "png"
    for clean, part in (("pets/train/cat", "train/cat"), ("out/val/dog", "val_poisoned/dog")):
        for i in range(3):
            stamped = coefficients(pets.parent / f"out/{part}/{i}.png")
            raised = stamped - coefficients(pets.parent / f"{clean}/{i}.png")
            np.testing.assert_allclose(raised, 50, atol=2)


def test_jpeg_is_refused_for_a_trigger_in_the_colors(pets, bench):
    refused = bench("poison", str(pets), "--out", "out", "--format", "jpeg")
    assert refused.code == 2
    assert "of the trigger; choose png (--format png)" in refused.err
    refused = bench("poison", str(pets), "--out", "out", "--quality", "90")
    assert refused.code == 2
    assert "quality: is of JPEGs, and format is png" in refused.err.replace("--", "")


def test_a_trigger_that_is_learned_has_no_files(pets, bench):
    text = TOML.replace("[attacks.ctrl]", "[attacks.blto]").replace("magnitude = 50\n", "")
    pets.write_text(text)
    refused = bench("poison", str(pets), "--out", "out")
    assert refused.code == 2
    assert "attacks.blto: blto learns its trigger in a stage of `backbench run`" in refused.err
