"""Some classes out of a whole tree, copied or linked, with everything that can be in the way."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from filelock import FileLock

from backbench.data.dataset_options import ImageFolderOptions
from backbench.data.folder import ImageFolder
from backbench.data.subset import make_subset, plan_subset
from backbench.errors import DataError

CLASSES = ("n02", "n01")


@pytest.fixture
def tree(tmp_path):
    """Four classes of ImageNet's form; contents tell the files apart."""
    for split, count in (("train", 5), ("val", 2)):
        for name in ("n01", "n02", "n03", "n04"):
            folder = tmp_path / "imagenet" / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                (folder / f"{name}_{i}.JPEG").write_bytes(f"{split} {name} ".encode() * (i + 1))
    return tmp_path / "imagenet"


def make(tree, out, classes=CLASSES, *, link=False):
    copied = []
    subset = plan_subset(tree, out, classes, link=link)
    make_subset(subset, copied.append)
    return copied


def message(tree, out, classes=CLASSES, *, link=False):
    with pytest.raises(DataError) as caught:
        plan_subset(tree, out, classes, link=link)
    return str(caught.value)


def contents(folder):
    """Every file that is there, hidden ones too."""
    paths = [
        Path(place, name) for place, _, names in os.walk(folder, followlinks=True) for name in names
    ]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def wanted(tree):
    return {name: data for name, data in contents(tree).items() if "n01" in name or "n02" in name}


def test_copies_are_whole_and_keep_their_times(tree, tmp_path):
    out = tmp_path / "out"
    copied = make(tree, out)
    assert contents(out) == wanted(tree)
    assert sum(copied) == len(wanted(tree))
    first = "train/n01/n01_0.JPEG"
    assert (out / first).stat().st_mtime_ns == (tree / first).stat().st_mtime_ns
    assert make(tree, out) == []


def test_links_show_the_same_data_set(tree, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make(tree.relative_to(tmp_path), tmp_path / "out", link=True)
    assert (tmp_path / "out/train/n01").readlink() == tree / "train/n01"
    assert contents(tmp_path / "out") == wanted(tree)
    assert plan_subset(tree, tmp_path / "out", CLASSES, link=True).links == []
    make(tree, tmp_path / "copy")
    linked, copied, part = (
        ImageFolder(ImageFolderOptions(root=root, classes=classes))
        for root, classes in ((tmp_path / "out", None), (tmp_path / "copy", None), (tree, CLASSES))
    )
    assert linked.fingerprint(_file_bytes) == copied.fingerprint(_file_bytes)
    assert linked.fingerprint(_file_bytes) == part.fingerprint(_file_bytes)


def _file_bytes(path):
    return Path(path).read_bytes().hex()


def test_killed_in_the_middle_of_a_file_it_continues(tree, tmp_path):
    """The child kills itself, with SIGKILL, when half of its seventh image is written."""
    out = tmp_path / "out"
    child = f"""
        import os, shutil, signal
        from pathlib import Path
        from backbench.data import subset

        real, seen = shutil.copyfile, []

        def copyfile(source, target):
            seen.append(target)
            if len(seen) == 7:
                data = Path(source).read_bytes()
                Path(target).write_bytes(data[: len(data) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return real(source, target)

        subset.shutil.copyfile = copyfile
        subset.map_threads = lambda function, items, chunk=1: [function(item) for item in items]
        plan = subset.plan_subset(Path({str(tree)!r}), Path({str(out)!r}), {CLASSES!r}, link=False)
        subset.make_subset(plan, lambda size: None)
    """
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(child)], check=False, timeout=60)
    assert ended.returncode == -signal.SIGKILL
    left = contents(out)
    partial = [name for name in left if name.endswith(".partial")]
    assert len(partial) == 1
    images = {name: data for name, data in left.items() if name.endswith(".JPEG")}
    assert len(images) == 6
    assert images.items() <= wanted(tree).items()
    assert len(make(tree, out)) == 14 - 6
    assert contents(out) == wanted(tree)


def test_a_failed_copy_leaves_no_part(tree, tmp_path, monkeypatch):
    def full(source, target):
        target.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("backbench.data.subset.shutil.copyfile", full)
    with pytest.raises(OSError, match="No space left"):
        make(tree, tmp_path / "out")
    assert contents(tmp_path / "out") == {}


def test_missing_classes_are_all_named_before_anything_is_written(tree, tmp_path):
    text = message(tree, tmp_path / "out", ("n01", "n07", "n08"))
    for split in ("train", "val"):
        assert f"{split}: there is no folder for 2 of the 3 classes: n07, n08" in text
    (tree / "val" / "n02" / "n02_0.JPEG").unlink()
    (tree / "val" / "n02" / "n02_1.JPEG").unlink()
    assert "val/n02: there is no image in it" in message(tree, tmp_path / "out")
    assert "no such folder" in message(tmp_path / "nowhere", tmp_path / "out")
    assert "no folder 'val' in it" in message(tree / "train", tmp_path / "out")
    assert "2 of the 2 classes: .., ../val" in message(tree, tmp_path / "out", ("../val", ".."))
    assert not (tmp_path / "out").exists()


def test_imagenet_as_downloaded_is_a_problem(tree, tmp_path):
    for name in ("n01", "n02", "n03", "n04"):
        for file in (tree / "val" / name).iterdir():
            file.rename(tree / "val" / f"ILSVRC2012_val_{file.name}")
        (tree / "val" / name).rmdir()
    text = message(tree, tmp_path / "out")
    assert len(text.splitlines()) == 2
    assert "val: its 8 images are not sorted by class" in text


def test_other_output_is_named_and_left_alone(tree, tmp_path):
    out = tmp_path / "out"
    make(tree, out)
    (out / "train" / "n03").mkdir()
    (out / "train" / "n01" / "n01_0.JPEG").write_bytes(b"other")
    (out / "val" / "n02" / "mine.png").touch()
    (out / "val" / "n02" / "notes.txt").touch()
    (out / "lists.txt").touch()
    before = contents(out)
    text = message(tree, out)
    assert "train/n03: is not one of the classes" in text
    assert "train/n01/n01_0.JPEG: has 5 bytes, not 10" in text
    assert "val/n02/mine.png: is not in the source" in text
    assert len(text.splitlines()) == 4
    assert contents(out) == before


def test_copies_and_links_are_never_mixed(tree, tmp_path):
    make(tree, tmp_path / "copies")
    text = message(tree, tmp_path / "copies", link=True)
    assert "val/n02: is a folder of its own, not a link" in text
    make(tree, tmp_path / "links", link=True)
    assert "train/n01: is a link; a copy would change the source" in message(
        tree, tmp_path / "links"
    )
    link = tmp_path / "links" / "val" / "n02"
    link.unlink()
    link.symlink_to(tree / "val" / "n03")
    assert f"val/n02: is a link to {tree}/val/n03" in message(tree, tmp_path / "links", link=True)


def test_the_source_is_never_written_to(tree, tmp_path):
    assert "it is the source itself" in message(tree, tree, ("n01", "n02", "n03", "n04"))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "train").symlink_to(tree / "train")
    assert "train: is not a folder of its own" in message(tree, tmp_path / "out")


def test_one_process_at_a_time(tree, tmp_path):
    out = tmp_path / "out"
    subset = plan_subset(tree, out, CLASSES, link=False)
    out.mkdir()
    with FileLock(out / ".backbench.lock"), pytest.raises(DataError, match="another process"):
        make_subset(subset, print)
    assert not (out / "train").exists()
