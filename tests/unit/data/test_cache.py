"""Decode once: the same bytes however it was interrupted, and whoever did it."""

import json

import numpy as np
import pytest
from PIL import Image

from backbench.data import cache
from backbench.data.cache import Layout, build
from backbench.data.decode import decode
from backbench.data.files import FileImages, LabelledFiles, estimate_bytes
from backbench.data.limits import AUTO_LIMIT_BYTES, keeps
from backbench.data.packed import open_images
from backbench.data.preprocess import ShortSide, Square, fitted_pixels
from backbench.errors import DataError

COUNT = 24


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    paths = []
    for index in range(COUNT):
        pixels = rng.integers(0, 256, (10 + index % 5, 12 + index % 7, 3), np.uint8)
        paths.append(str(tmp_path / "in" / f"{index}.jpg"))
        exif = Image.Exif()
        exif[0x0112] = 1 + index % 8  # on its side, too
        Image.fromarray(pixels).save(paths[-1], quality=90, exif=exif)
    return LabelledFiles(paths, [f"{i}.jpg" for i in range(COUNT)], np.arange(COUNT) % 3)


@pytest.fixture
def decoded(monkeypatch):
    """Return the files that are decoded, in order; decoding can be told to stop at one."""
    seen = []

    class Seen(list):
        stop_at = None

    seen = Seen()

    def watched(path, fit=None):
        if seen.stop_at is not None and len(seen) == seen.stop_at:
            raise KeyboardInterrupt
        seen.append(path)
        return decode(path, fit)

    monkeypatch.setattr(cache, "decode", watched)
    return seen


def test_images_are_on_the_disk_before_their_file_is_whole(tmp_path, files, monkeypatch):
    """Else a power cut leaves a file that is not looked at again, without its content."""
    path = tmp_path / "a.safetensors"
    kept = []
    monkeypatch.setattr(cache.files, "make_durable", lambda one: kept.append((one, path.exists())))
    build(path, Layout.of(FileImages(files)))
    assert kept == [(path.with_suffix(".partial"), False)]


@pytest.mark.parametrize("fit", [None, ShortSide(11), Square(9, 8)])
def test_images_are_those_of_the_files(tmp_path, files, fit):
    images = FileImages(files, fit)
    build(tmp_path / "a.safetensors", Layout.of(images))
    found = open_images(tmp_path / "a.safetensors", files.sources)
    assert found.pixels is None
    assert found.labels.tolist() == files.labels.tolist()
    for index in range(COUNT):
        np.testing.assert_array_equal(found.image(index), images.image(index))
    np.testing.assert_array_equal(found.image(-1), images.image(COUNT - 1))


def test_short_side_never_enlarges(files):
    images, smaller = FileImages(files), FileImages(files, ShortSide(11))
    for index in range(COUNT):
        before, after = images.image(index), smaller.image(index)
        assert min(after.shape[:2]) == min(11, *before.shape[:2])
        np.testing.assert_array_equal(after, fitted_pixels(before, ShortSide(11)))


@pytest.mark.parametrize("stop_at", [0, 1, 7, COUNT - 1])
def test_an_interrupted_build_is_continued(tmp_path, files, decoded, stop_at):
    layout = Layout.of(FileImages(files))
    build(tmp_path / "whole.safetensors", layout)
    decoded.clear()
    decoded.stop_at = stop_at
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "a.safetensors", layout)
    assert not (tmp_path / "a.safetensors").exists()
    decoded.stop_at = None
    told = []
    build(tmp_path / "a.safetensors", layout, progress=told.append)
    assert decoded == files.paths  # each once
    assert sum(told) == COUNT
    assert told[0] == stop_at
    assert (tmp_path / "a.safetensors").read_bytes() == (
        tmp_path / "whole.safetensors"
    ).read_bytes()
    assert sorted(one.name for one in tmp_path.iterdir()) == [
        "a.safetensors",
        "in",
        "whole.safetensors",
    ]
    build(tmp_path / "a.safetensors", layout)
    assert len(decoded) == COUNT


def test_a_killed_build_goes_on_from_what_was_noted(tmp_path, files, decoded, monkeypatch):
    """Nothing is written on the way out: what was noted last is what counts."""
    monkeypatch.setattr(cache, "_NOTE_BYTES", 2000)
    write = cache._Note.write
    monkeypatch.setattr(cache._Note, "write", lambda self: alive and write(self))
    alive, layout = True, Layout.of(FileImages(files))
    build(tmp_path / "whole.safetensors", layout)
    decoded.clear()

    def stop(_done):
        nonlocal alive
        if len(decoded) == 12:
            alive = False
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "a.safetensors", layout, progress=stop)
    note = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert 0 < note["done"] < 12
    alive = True
    decoded.clear()
    build(tmp_path / "a.safetensors", layout)
    assert decoded == files.paths[note["done"] :]
    assert (tmp_path / "a.safetensors").read_bytes() == (
        tmp_path / "whole.safetensors"
    ).read_bytes()


def test_what_was_begun_of_other_images_is_begun_anew(tmp_path, files, decoded):
    decoded.stop_at = 5
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "a.safetensors", Layout.of(FileImages(files)))
    decoded.clear()
    decoded.stop_at = None
    build(tmp_path / "a.safetensors", Layout.of(FileImages(files, ShortSide(11))))
    assert decoded == files.paths


def test_processes_give_the_same(tmp_path, files, monkeypatch):
    layout = Layout.of(FileImages(files))
    build(tmp_path / "one.safetensors", layout)
    monkeypatch.setattr(cache, "WORTH_PROCESSES", 0)
    build(tmp_path / "two.safetensors", layout, cores=tuple(cache.os.sched_getaffinity(0)) * 2)
    assert (tmp_path / "two.safetensors").read_bytes() == (
        tmp_path / "one.safetensors"
    ).read_bytes()


def test_all_that_cannot_be_read_is_named_and_nothing_is_left(tmp_path, files):
    for index in (3, 20):
        path = tmp_path / "in" / f"{index}.jpg"
        path.write_bytes(path.read_bytes()[:-40])
    (tmp_path / "in" / "4.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"3 of 24 images(.|\n)*3\.jpg(.|\n)*4\.jpg(.|\n)*20\.jpg"):
        build(tmp_path / "a.safetensors", Layout.of(FileImages(files)))
    assert [one.name for one in tmp_path.iterdir()] == ["in"]


def test_an_odd_size_is_a_problem_where_one_size_is_wanted(tmp_path, files):
    with pytest.raises(DataError, match=r"images cannot be used(.|\n)*where others have"):
        build(tmp_path / "a.safetensors", Layout.of(FileImages(files, one_size=True)))


def test_a_disk_without_room_is_told_before_anything_is_written(tmp_path, files, monkeypatch):
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda _path: type("Disk", (), {"free": 1000}))
    with pytest.raises(DataError, match=r'GB are free; set cache = "off"'):
        build(tmp_path / "a.safetensors", Layout.of(FileImages(files)))
    assert [one.name for one in tmp_path.iterdir()] == ["in"]


def test_bytes_are_estimated_by_headers(files):
    for fit in (None, ShortSide(11), Square(9, 8)):
        exact = sum(FileImages(files, fit).image(i).size for i in range(COUNT))
        assert estimate_bytes(files.paths, fit) == exact == Layout.of(FileImages(files, fit)).total
    assert estimate_bytes([], None) == 0


def test_what_is_kept():
    assert keeps("auto", AUTO_LIMIT_BYTES)
    assert not keeps("auto", AUTO_LIMIT_BYTES + 1)
    assert keeps("full", 1 << 50)
    assert keeps(256, 1 << 50)
    assert not keeps("off", 0)
