"""Hashes of an image before and after its trigger; the writer's short cuts change no byte."""

import io

import numpy as np
import pytest
from PIL import Image

from backbench.data.decode import decode, read_image
from backbench.data.encode import encode
from backbench.poison.files.encoding import recoded
from backbench.poison.manifest import changed_rows, pixel_hash, pixel_hashes


@pytest.fixture
def before():
    return np.random.default_rng(0).integers(0, 256, (7, 5, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("places", "rows"),
    [
        ([], (0, 0)),
        ([(0, 0, 0)], (0, 1)),
        ([(6, 4, 2)], (6, 7)),
        ([(2, 4, 2), (5, 0, 0)], (2, 6)),
        ([(3, 0, 0), (3, 4, 2)], (3, 4)),
    ],
)
def test_changed_rows(before, places, rows):
    after = before.copy()
    for place in places:
        after[place] ^= 255
    found = changed_rows(before, after)
    assert (found.start, found.stop) == rows
    assert pixel_hashes(before, after, found.start) == (pixel_hash(before), pixel_hash(after))


def test_a_image_recoded_is_coded_as_its_pixels(tmp_path):
    """Also where the file has a comment, a resolution and a profile, which must not go along."""
    rng = np.random.default_rng(1)
    file = tmp_path / "a.jpg"
    exif = Image.Exif()
    exif[0x010E] = "a description"
    Image.fromarray(rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)).save(
        file, comment=b"hello", dpi=(72, 72), icc_profile=b"x" * 40, exif=exif, progressive=True
    )
    after = decode(file).copy()
    after[10:20, 5:30] = 7
    image = recoded(read_image(file), after, changed_rows(decode(file), after))
    expected = io.BytesIO()
    Image.fromarray(after).save(expected, "JPEG")
    assert encode(image, "jpeg") == expected.getvalue()
