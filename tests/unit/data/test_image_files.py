"""One rule what an image file is: what is passed over, and that it is said."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from backbench.cli import common
from backbench.cli.data.filelist import command as filelist
from backbench.cli.data.fingerprint import command as fingerprint
from backbench.cli.data.imagenet100 import command as imagenet100
from backbench.data.class_counts import look_at
from backbench.data.dataset_options import ImageFolderOptions
from backbench.data.decode import FORMATS, IMAGE_SUFFIXES, decode, read_size
from backbench.data.fingerprint import FileHashes
from backbench.data.folder import ImageFolder
from backbench.data.image_files import scan_class
from backbench.data.preprocess import Square
from backbench.errors import DataError, printable


@pytest.fixture
def birds(make_folder):
    return make_folder(root="birds", train={"heron": 4, "wren": 4}, val={"heron": 2, "wren": 2})


def listing(root):
    return ImageFolder(ImageFolderOptions(root=root)).listing


def problems(root):
    with pytest.raises(DataError) as caught:
        listing(root)
    return str(caught.value)


def test_thumbnails_of_a_network_drive_are_passed_over_and_counted(birds):
    heron = birds / "train" / "heron"
    for folder in ("@eaDir/img 00.png", ".thumbnails", "__MACOSX", "more/@EADIR"):
        (heron / folder).mkdir(parents=True)
        shutil.copy(heron / "img 00.png", heron / folder / "T.png")
    for name in ("._img 00.png", "Thumbs.db", ".DS_Store"):
        (heron / name).write_bytes(b"x")
    (birds / "train" / "lost+found").mkdir()
    found = listing(birds)
    assert (len(found.train), len(found.val)) == (8, 4)
    (note,) = found.notes
    assert "8 files or folders are passed over: hidden and system folders 5 (train/" in note
    assert "hidden files 2 (train/heron/." in note
    assert ".db 1 (train/heron/Thumbs.db)" in note


def test_other_endings_are_named_and_those_of_known_formats_are_read(birds):
    heron = birds / "train" / "heron"
    for i, suffix in enumerate((".jfif", ".JPE", ".jpg?w=300", "")):
        with Image.open(heron / f"img {i:02d}.png") as image:
            image.save(heron / f"img {i:02d}{suffix}", "JPEG")
        (heron / f"img {i:02d}.png").unlink()
    found = listing(birds)
    assert [path[path.rindex(".") :] for path in found.train.paths[:2]] == [".jfif", ".JPE"]
    assert len(found.train) == 6
    (note,) = found.notes
    assert "2 files or folders are passed over" in note
    assert ".jpg?w=300 1 (train/heron/img 02.jpg?w=300)" in note
    assert "no suffix 1 (train/heron/img 03)" in note
    assert ".jfif" in note.partition("images end with")[2]


def test_a_class_of_unknown_endings_says_which_they_are(birds):
    for path in (birds / "train" / "heron").iterdir():
        path.rename(path.with_suffix(".heif2"))
    assert "train/heron: there is no image in it" in problems(birds)
    assert ".heif2 4 (train/heron/img" in problems(birds)


def test_avif_is_an_image_where_pillow_reads_it(birds):
    assert (".avif" in IMAGE_SUFFIXES) == ("AVIF" in FORMATS)
    assert (".heic" in IMAGE_SUFFIXES) == ("HEIF" in FORMATS)


def test_links_to_folders_are_followed_once_and_circles_end(birds, tmp_path):
    more = tmp_path / "elsewhere"
    more.mkdir()
    for i in range(5):
        Image.new("RGB", (8, 6), (i, 9, 9)).save(more / f"{i}.png")
    (more / "back").symlink_to(birds / "train" / "heron")
    heron = birds / "train" / "heron"
    (heron / "a").symlink_to(more)
    (heron / "b").symlink_to(more)
    (heron / "self").symlink_to("self")
    (heron / "up").symlink_to("..")
    found = listing(birds)
    assert found.train.labels.tolist() == [0] * 9 + [1] * 4
    assert sum("/heron/a/" in source for source in found.train.sources) == 5
    (note,) = found.notes
    assert "links to folders that are read already 3 (" in note


def test_a_class_folder_that_is_a_link_does_not_lead_upwards(birds, tmp_path):
    (birds / "train" / "heron").rename(tmp_path / "heron")
    (birds / "train" / "heron").symlink_to(tmp_path / "heron")
    (tmp_path / "heron" / "up").symlink_to(tmp_path)
    assert len(listing(birds).train) == 8


def test_a_folder_in_two_classes_is_a_problem(birds):
    (birds / "train" / "wren" / "z").symlink_to(birds / "train" / "heron")
    text = problems(birds)
    assert "wren/z is a folder of class 'heron' too, by a link" in text
    assert "its images would have two labels" in text


def test_a_link_to_nothing_is_a_problem(birds):
    (birds / "train" / "heron" / "zz.png").symlink_to("gone.png")
    assert "heron/zz.png: no such file or directory" in problems(birds)


@pytest.mark.skipif(os.getuid() != 0, reason="only root may become another user")
def test_what_may_not_be_read_is_a_problem(birds):
    code = (
        "import os, sys; from pathlib import Path; from backbench.data.image_files import scan_class\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "for one in ('train/heron', 'val/wren'): print(scan_class(Path(sys.argv[1], one)).problems)"
    )
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        root = Path(shutil.copytree(birds, Path(folder) / "birds"))
        (root / "train" / "heron" / "sub").mkdir(mode=0o000)
        (root / "val" / "wren" / "img 00.png").chmod(0o000)
        done = subprocess.run(
            [sys.executable, "-c", code, root], capture_output=True, text=True, check=True
        )
    assert "heron/sub: permission denied" in done.stdout
    assert "wren/img 00.png: permission denied" in done.stdout


def test_a_val_that_is_not_sorted_by_class_is_said_once(birds):
    val = birds / "val"
    (val / "images").mkdir()
    for name in ("heron", "wren"):
        for path in (val / name).iterdir():
            path.rename(val / "images" / f"{name}{path.name}")
        (val / name).rmdir()
    text = problems(birds)
    assert "train and val have no class in common: train has heron, wren, val has images" in text
    assert len(text.splitlines()) == 2


def test_tools_follow_the_same_rule(birds, tmp_path):
    heron = birds / "train" / "heron"
    (heron / "@eaDir").mkdir()
    shutil.copy(heron / "img 00.png", heron / "@eaDir" / "T.png")
    (heron / "img 00.png").rename(heron / "img 00.jfif")
    assert look_at(str(birds)).splits == {"train": (4, 4), "val": (2, 2)}
    (note,) = look_at(str(birds)).problems
    assert "1 file or folder is passed over: hidden and system folders 1" in note
    done = CliRunner().invoke(filelist, ["--root", str(birds), "--out", str(tmp_path / "lists")])
    assert "note: 1 file or folder is passed over" in done.stderr
    assert "8 images, 2 classes" in done.stdout
    classes = tmp_path / "classes.txt"
    classes.write_text("heron\nwren\n")
    out = tmp_path / "out"
    done = CliRunner().invoke(
        imagenet100,
        ["--imagenet", str(birds), "--out", str(out), "--classes", str(classes)],
    )
    assert "note: 1 file or folder is passed over" in done.stderr
    assert len(scan_class(out / "train" / "heron").images) == 4


def test_a_flat_val_has_a_fingerprint_without_traceback(birds):
    val = birds / "val"
    for name in ("heron", "wren"):
        for path in (val / name).iterdir():
            path.rename(val / f"{name}{path.name}")
        (val / name).rmdir()
    done = CliRunner().invoke(fingerprint, [str(birds)])
    assert done.exit_code == 0
    assert "val          no class folders" in done.stdout
    assert "val: 4 images lie outside class folders" in done.stdout


def test_a_pipe_with_an_images_name_is_refused_and_not_waited_for(birds, tmp_path):
    pipe = birds / "train" / "heron" / "zz.png"
    os.mkfifo(pipe)
    assert "heron/zz.png: not a regular file" in problems(birds)
    for read in (decode, read_size):
        with pytest.raises(DataError, match=r"zz\.png: not a regular file"):
            read(pipe)
    with pytest.raises(DataError, match=r"zz\.png: not a regular file"):
        FileHashes(tmp_path / "hashes").hash_many([str(pipe)])
    with pytest.raises(DataError, match="not a regular file"):
        decode("/dev/zero")


def test_all_files_that_cannot_be_hashed_are_named(tmp_path):
    gone = [str(tmp_path / name) for name in ("a.png", "b.png")]
    with pytest.raises(DataError, match=r"(?s)2 of 2 files cannot be read:.*a\.png.*b\.png"):
        FileHashes(tmp_path / "hashes").hash_many(gone)


def test_postscript_with_an_images_name_starts_no_program(tmp_path, monkeypatch):
    sign = tmp_path / "started"
    program = tmp_path / "bin" / "gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch {sign}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    image = tmp_path / "zz.png"
    image.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 40\n%%EndComments\n%%EOF\n")
    for read in (decode, read_size):
        with pytest.raises(DataError, match="not an image of a known format"):
            read(image)
    assert not sign.exists()


@pytest.mark.parametrize("size", [(30_000, 1), (1, 30_000), (4000, 1)])
def test_a_thin_image_takes_little_memory(tmp_path, size):
    import tracemalloc

    path = tmp_path / "thin.png"
    Image.fromarray(
        np.arange(size[0] * size[1], dtype=np.uint32).astype(np.uint8).reshape(size[::-1])
    ).save(path)
    resource = pytest.importorskip("resource")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tracemalloc.start()
    assert decode(path, Square(256, 224)).shape == (224, 224, 3)
    tracemalloc.stop()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


def test_the_center_of_a_thin_image_is_that_of_the_whole(monkeypatch):
    from backbench.data import preprocess as module

    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (3, 90, 3), dtype=np.uint8))
    fit = Square(64, 56)
    whole = np.asarray(module.fitted(image, fit))
    monkeypatch.setattr(module, "_MOST_RESIZED_PX", 1)
    part = np.asarray(module.fitted(image, fit))
    assert np.abs(whole.astype(int) - part).max() <= 1


def test_terminal_escapes_in_names_are_shown_and_not_obeyed():
    assert printable("a\x1b]0;T\x07b\nc\udce9") == "a\\x1b]0;T\\x07b\nc\\udce9"
    assert str(DataError("x\x1b[31m.png: no such file")) == "x\\x1b[31m.png: no such file"


def test_notes_are_said_of_every_dataset(birds, capsys):
    common.say("note", ["dataset 'b\x1b': 1 file"])
    assert capsys.readouterr().err == "note: dataset 'b\\x1b': 1 file\n"
