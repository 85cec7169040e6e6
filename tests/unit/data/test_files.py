"""File-backed image sets: in memory or on demand, every image verified."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backbench.data.files import FileImages, LabelledFiles, load_images, shared_size
from backbench.data.many import list_problems, map_threads, spread
from backbench.data.preprocess import Square
from backbench.errors import DataError
from backbench.images import ArrayImages


@pytest.fixture
def files(tmp_path):
    def make(*sizes):
        paths = []
        for i, size in enumerate(sizes):
            paths.append(str(tmp_path / f"{i}.png"))
            Image.new("RGB", size, (i, i, i)).save(paths[-1])
        sources = [f"{i}.png" for i in range(len(sizes))]
        return LabelledFiles(paths, sources, np.arange(len(sizes)))

    return make


def test_images_of_one_size_are_held_in_memory(files):
    images = load_images(files(*[(4, 3)] * 130))
    assert isinstance(images, ArrayImages)
    assert images.pixels.shape == (130, 3, 4, 3)
    assert images.pixels[:, 0, 0, 0].tolist() == list(range(130))
    assert images.image(7)[0, 0, 0] == 7
    assert images.sources[7] == "7.png"


def test_images_of_many_sizes_are_decoded_on_demand(files):
    images = load_images(files((4, 3), (5, 3), (4, 3)))
    assert isinstance(images, FileImages)
    assert images.pixels is None
    assert images.size is None
    assert [images.image(i).shape for i in range(len(images))] == [(3, 4, 3), (3, 5, 3), (3, 4, 3)]


def test_an_odd_image_that_the_sample_missed_makes_the_set_ragged(files):
    sizes = [(4, 3)] * 200
    sizes[1] = (5, 3)
    found = files(*sizes)
    assert shared_size(found.paths) == (3, 4)
    for limit in (1, 1 << 20):
        images = load_images(found, memory_limit_bytes=limit)
        assert (images.pixels, images.size) == (None, None)
    with pytest.raises(DataError, match=r"1 of 200 .*\n.*1\.png: 5 x 3 px, where others have 4 x"):
        load_images(found, one_size=True)


def test_squares_are_uniform(files):
    images = load_images(files((4, 3), (5, 3)), fit=Square(8, 8))
    assert images.pixels.shape == (2, 8, 8, 3)


def test_large_sets_stay_on_disk(files):
    found = files(*[(4, 3)] * 10)
    assert load_images(found, memory_limit_bytes=360).pixels is not None
    on_disk = load_images(found, memory_limit_bytes=359)
    assert on_disk.pixels is None
    assert on_disk.size == (3, 4)


def test_all_unreadable_images_are_counted_and_twenty_named(files):
    found = files(*[(4, 3)] * 30)
    for path in found.paths[:25]:
        with Path(path).open("r+b") as file:
            file.truncate(20)
    with pytest.raises(DataError) as caught:
        load_images(found)
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("25 of 30 images cannot be used")
    assert len(lines) == 22
    assert lines[-1].strip() == "and 5 more"


@pytest.mark.parametrize("sizes", [[(4, 3), (5, 3)], [(4, 3), (4, 3)]])
def test_verifying_reads_images_that_are_not_kept(files, sizes):
    found = files(*sizes)
    with Path(found.paths[1]).open("r+b") as file:
        file.truncate(40)
    with pytest.raises(DataError, match="1 of 2"):
        load_images(found, memory_limit_bytes=1)
    images = load_images(found, memory_limit_bytes=1, verify=False)
    assert images.image(0).shape == (3, 4, 3)
    with pytest.raises(DataError, match=r"1\.png"):
        images.image(1)


def test_unverified_sets_have_the_same_shape_as_verified_ones(files):
    for sizes in ([(4, 3)] * 3, [(4, 3), (5, 3)]):
        found = files(*sizes)
        verified, not_verified = (load_images(found, verify=v) for v in (True, False))
        assert type(verified) is type(not_verified)


def test_empty_set():
    empty = LabelledFiles([], [], np.zeros(0, np.int64))
    assert len(load_images(empty)) == 0


def test_spread():
    assert spread(10, 3) == [0, 3, 6]
    assert spread(3, 10) == spread(3, None) == [0, 1, 2]
    assert spread(0, 5) == []


def test_map_threads_keeps_order_and_raises():
    assert map_threads(lambda x: 2 * x, range(1000)) == list(range(0, 2000, 2))
    with pytest.raises(ZeroDivisionError):
        map_threads(lambda x: 1 // x, [1, 0])


def test_list_problems():
    assert list_problems("two", ["a", "b"]) == "two:\n  a\n  b"
    assert list_problems("many", ["x"] * 21).endswith("x\n  and 1 more")
