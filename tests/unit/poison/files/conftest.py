"""A folder of noise to poison, and the command that does it."""

import hashlib
import shutil

import numpy as np
import pytest
from PIL import Image

TOML = """
[datasets.pets]
plugin = "image-folder"
root = "my pets"
val_size = 48

[attacks.patch]
target = "cat"
rate = { of = "target_class", value = 0.5 }
width = 10
"""

CLASSES = {"ant": 3, "cat": 8, "dog eared": 3}


@pytest.fixture
def pets(tmp_path):
    """Images of differing sizes, in a folder whose name has a space, and a file to poison it."""
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for name, count in CLASSES.items():
            folder = tmp_path / "my pets" / split / name
            folder.mkdir(parents=True)
            for i in range(count if split == "train" else 2):
                size = (*rng.integers(50, 70, 2), 3)
                image = Image.fromarray(rng.integers(0, 256, size, dtype=np.uint8))
                image.save(folder / f"a {i}.{'png' if i == 1 else 'JPEG'}")
    file = tmp_path / "pets.toml"
    file.write_text(TOML)
    return file


@pytest.fixture
def snapshot():
    """Return every file below a folder with its content's hash, hidden ones included."""

    def take(folder):
        return {
            str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }

    return take


@pytest.fixture
def finished(pets, bench, snapshot):
    """Poison in one go, take the result away, and say what it was."""

    def run(*arguments, out="out"):
        bench("poison", str(pets), "--out", out, *arguments).assert_ok()
        folder = pets.parent / out
        found = snapshot(folder)
        shutil.move(folder, folder.with_name("finished"))
        return found

    return run
