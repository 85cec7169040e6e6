"""Fingerprints move with the content and with nothing else; hashes are remembered."""

import hashlib
import json
import os

import numpy as np
import pytest
from PIL import Image

from backbench.data.files import LabelledFiles
from backbench.data.fingerprint import FileHashes, converted_images, fingerprint_files, hash_all
from backbench.errors import DataError
from backbench.system import files

LONG_AGO = 1_600_000_000


@pytest.fixture
def reads(monkeypatch):
    """The paths of the files that are really read."""
    seen = []
    original = files.sha256
    monkeypatch.setattr(files, "sha256", lambda path: (seen.append(path), original(path))[1])
    return seen


def write(path, content, mtime=LONG_AGO):
    path.write_bytes(content)
    os.utime(path, (mtime, mtime))
    return str(path)


def test_a_known_file_is_only_looked_at(tmp_path, reads):
    path = write(tmp_path / "a file", b"content")
    cache = tmp_path / "cache" / "hashes.json"
    hashes = FileHashes(cache)
    assert hashes(path) == hashlib.sha256(b"content").hexdigest()
    hashes.save()
    again = FileHashes(cache)
    assert again.hash_many([path, path]) == [hashes(path)] * 2
    assert len(reads) == 1


@pytest.mark.parametrize(
    ("content", "mtime"), [(b"longer content", LONG_AGO), (b"CONTENT", LONG_AGO + 1)]
)
def test_a_changed_file_is_read_again(tmp_path, reads, content, mtime):
    path = write(tmp_path / "a", b"content")
    hashes = FileHashes(tmp_path / "cache")
    hashes(path)
    write(tmp_path / "a", content, mtime)
    assert hashes(path) == hashlib.sha256(content).hexdigest()
    assert len(reads) == 2


def test_a_file_replaced_by_one_of_equal_size_and_time_is_read_again(tmp_path):
    path = write(tmp_path / "a", b"content")
    hashes = FileHashes(tmp_path / "cache")
    hashes(path)
    write(tmp_path / "b", b"CONTENT")
    (tmp_path / "b").replace(path)
    assert hashes(path) == hashlib.sha256(b"CONTENT").hexdigest()


def test_a_file_changed_just_now_is_not_remembered(tmp_path, reads):
    path = tmp_path / "a"
    path.write_bytes(b"content")
    hashes = FileHashes(tmp_path / "cache")
    hashes(str(path))
    hashes(str(path))
    assert len(reads) == 2


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"version": 1}',
        '{"version": 0, "hashes": {}}',
        '{"version": 1, "hashes": 3}',
        '{"version": 1, "hashes": {"/a": [1, 2]}}',
        "\x00\xff",
    ],
)
def test_a_damaged_cache_is_made_anew(tmp_path, content):
    cache = tmp_path / "cache"
    cache.write_text(content, encoding="latin-1")
    path = write(tmp_path / "a", b"content")
    hashes = FileHashes(cache)
    hashes(path)
    hashes.save()
    assert [*json.loads(cache.read_text())["hashes"].values()] == [hashes(path)]


def test_saving_leaves_no_other_file_and_survives_a_forbidden_place(tmp_path):
    path = write(tmp_path / "a", b"content")
    hashes = FileHashes(tmp_path / "cache")
    hashes.save()
    assert not (tmp_path / "cache").exists()
    hashes(path)
    hashes.save()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "cache"]
    below_a_file = FileHashes(tmp_path / "a" / "cache")
    below_a_file(path)
    below_a_file.save()


def test_missing_files_are_named(tmp_path):
    with pytest.raises(DataError, match="gone: no such file"):
        FileHashes(tmp_path / "cache")(str(tmp_path / "gone"))


def fingerprint(root, names=("a", "b"), labels=(0, 1), extra=None, hash_file=None):
    files = LabelledFiles([str(root / n) for n in names], names, np.array(labels))
    hash_file = hash_file or FileHashes(root / "cache")
    return fingerprint_files([files, files], extra or {}, hash_all([files, files], hash_file))


def test_fingerprint_moves_with_content_names_labels_order_and_extra(tmp_path):
    for root in ("one", "two"):
        (tmp_path / root).mkdir()
        for name in "abc":
            write(tmp_path / root / name, name.encode())
    one = fingerprint(tmp_path / "one")
    assert one == fingerprint(tmp_path / "two")
    write(tmp_path / "two" / "b", b"B")
    others = [
        fingerprint(tmp_path / "two"),
        fingerprint(tmp_path / "one", names=("a", "c")),
        fingerprint(tmp_path / "one", labels=(0, 0)),
        fingerprint(tmp_path / "one", names=("b", "a"), labels=(1, 0)),
        fingerprint(tmp_path / "one", extra={"resize": 8}),
    ]
    assert len({one, *others}) == 6


def test_any_callable_hashes(tmp_path):
    assert fingerprint(tmp_path, hash_file=lambda path: "0") == fingerprint(
        tmp_path, hash_file=lambda path: "0"
    )


def test_converted_images_are_counted_and_remembered(tmp_path, monkeypatch):
    plain = Image.new("RGB", (8, 6), (10, 20, 30))
    exif = Image.Exif()
    exif[0x0112] = 6
    plain.save(tmp_path / "plain.png")
    plain.convert("L").save(tmp_path / "gray.jpg")
    plain.convert("P").save(tmp_path / "palette.png")
    plain.convert("CMYK").save(tmp_path / "cmyk.jpg")
    plain.convert("RGBA").save(tmp_path / "alpha.png")
    plain.save(tmp_path / "turned.jpg", exif=exif)
    frames = [Image.new("RGB", (8, 6), (number, 0, 0)) for number in range(3)]
    plain.save(tmp_path / "frames.gif", save_all=True, append_images=frames)
    Image.fromarray(np.full((6, 8), 40_000, np.uint16)).save(tmp_path / "deep.png")
    (tmp_path / "broken.png").write_text("no image")
    names = sorted(path.name for path in tmp_path.iterdir())
    paths = [str(tmp_path / name) for name in names]
    for path in paths:
        os.utime(path, (1, 1))
    expected = (
        "of 9 images are converted to 8-bit RGB: 1 of 16 bits a channel (the upper 8 are kept), as "
        "deep.png; 1 in CMYK or another color space, as cmyk.jpg; 1 with an alpha channel (laid on "
        "white), as alpha.png; 1 with several frames (the first is taken), as frames.gif; 1 with "
        "an EXIF orientation (turned), as turned.jpg"
    )
    hashes = FileHashes(tmp_path / "cache")
    assert list(converted_images(names, hashes.look_many(paths))) == [expected]
    assert {len(one) for one in hashes.hash_many(paths)} == {64}
    hashes.save()
    monkeypatch.setattr("backbench.data.decode.conversions", None)  # nothing is read again
    assert list(converted_images(names, FileHashes(tmp_path / "cache").look_many(paths))) == [
        expected
    ]
    assert list(converted_images(names, ["0"] * len(names))) == []


def test_a_pipe_as_a_cache_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "cache")
    path = write(tmp_path / "a", b"content")
    assert FileHashes(tmp_path / "cache")(path) == hashlib.sha256(b"content").hexdigest()
