"""What is written, and that an interruption changes nothing."""

import hashlib
import json
import resource
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from backbench.data.dataset_options import FileListOptions, ImageFolderOptions
from backbench.data.file_list import FileList
from backbench.data.folder import ImageFolder
from backbench.errors import ConfigError
from backbench.plugin.registry import load_registry
from backbench.poison.files import writing
from backbench.poison.files.planning import make_plan
from backbench.poison.files.request import read_request
from backbench.system import children as processes
from backbench.system.locks import alone_in


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def opened(path):
    with Image.open(path) as image:
        image.load()
        return image


def test_lists_hold_the_whole_data_set_in_its_order(pets, bench):
    bench("poison", str(pets), "--out", "out").assert_ok()
    root, out = pets.parent / "my pets", pets.parent / "out"
    clean = ImageFolder(ImageFolderOptions(root=root, val_size=48))
    poisoned = FileList(FileListOptions(train=out / "train.txt", val=out / "val_poisoned.txt"))
    assert poisoned.metadata().classes == clean.metadata().classes
    before, after = clean.listing, poisoned.listing
    assert np.array_equal(before.train.labels, after.train.labels)
    assert np.array_equal(before.val.labels, after.val.labels)
    marks = {line["source"]: line for line in read(out / "train.jsonl")}
    assert len(marks) == 4
    for source, old, new in zip(
        before.train.sources, before.train.paths, after.train.paths, strict=True
    ):
        if source in marks:
            assert new == str(out / "train" / marks[source]["file"])
        else:
            assert new == old
    assert all(path.startswith(str(out / "val_poisoned")) for path in after.val.paths)


def test_poisons_are_those_of_the_matrix(pets, bench):
    """The stage and the command choose and stamp alike, and JPEG gives both the same pixels."""
    from backbench.plugin import DatasetMetadata
    from backbench.poison.access import Access
    from backbench.poison.choice import choose
    from backbench.poison.poisoning import recode, stamp
    from backbench_attacks.patch import Patch
    from backbench_attacks.patch_options import PatchOptions

    with pets.open("a") as file:
        file.write("jpeg_quality = 60\n")
    bench("poison", str(pets), "--out", "out", "--seed", "7").assert_ok()
    out = pets.parent / "out"
    data = ImageFolder(ImageFolderOptions(root=pets.parent / "my pets", val_size=48))
    images, metadata = data.load("train"), data.metadata()
    assert isinstance(metadata, DatasetMetadata)
    attack = Patch(PatchOptions(target="cat", width=10, jpeg_quality=60), metadata)
    lines = read(out / "train.jsonl")
    assert [line["index"] for line in lines] == list(choose(attack, Access(images), 7))
    for line in lines:
        pixels, mark = stamp(attack, images, line["index"], "train", 7)
        assert (mark.after, mark.before, mark.seed) == tuple(
            line[key] for key in ("after", "before", "seed")
        )
        written = np.asarray(opened(out / "train" / line["file"]))
        assert np.array_equal(written, recode(attack, pixels))
        assert not np.array_equal(written, pixels)


def test_names_end_as_their_format(pets, bench):
    bench("poison", str(pets), "--out", "jpeg").assert_ok()
    bench("poison", str(pets), "--out", "png", "--format", "png").assert_ok()
    names = {p.name for p in (pets.parent / "jpeg" / "val_poisoned" / "dog eared").iterdir()}
    assert names == {"a 0.JPEG", "a 1.jpg"}
    names = {p.name for p in (pets.parent / "png" / "val_poisoned" / "dog eared").iterdir()}
    assert names == {"a 0.png", "a 1.png"}
    for line in read(pets.parent / "png" / "val_poisoned.jsonl"):
        file = pets.parent / "png" / "val_poisoned" / line["file"]
        pixels = np.asarray(opened(file))
        assert pixels.shape == (48, 48, 3)
        digest = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()
        assert digest == line["after"]
        assert hashlib.sha256(file.read_bytes()).hexdigest() == line["file_sha256"]


def test_clean_images_are_coded_alike(pets, bench):
    bench("poison", str(pets), "--out", "out", "--reencode-clean", "--quality", "50").assert_ok()
    out, root = pets.parent / "out", pets.parent / "my pets"
    # What was written is a folder of images of its own.
    again = ImageFolder(ImageFolderOptions(root=out))
    assert (again.metadata().train, again.metadata().val) == (14, 6)
    tables = {opened(path).quantization[0][0] for path in out.rglob("*.[jJ]*[gG]")}
    assert len(tables) == 1
    (cleanly,) = [line for line in read(out / "clean-train.jsonl") if line["index"] == 0]
    file = out / "train" / cleanly["file"]
    opened(root / cleanly["source"]).save(pets.parent / "x.jpg", quality=50)
    assert file.read_bytes() == (pets.parent / "x.jpg").read_bytes()
    assert len(read(out / "clean-train.jsonl")) + len(read(out / "train.jsonl")) == 14
    sizes = {opened(path).size for path in (out / "val").rglob("*.*")}
    assert sizes == {(48, 48)}
    assert len((out / "val.txt").read_text().splitlines()) == 6


@pytest.mark.parametrize("alike", [True, False])
def test_clean_pngs_have_been_through_the_jpeg_of_the_attack_too(tmp_path, bench, alike):
    """Unless nobody asked: images without files are written as they are."""
    (tmp_path / "drawn.toml").write_text(
        "[datasets.embedded]\nclasses = 2\ntrain_per_class = 3\nval_per_class = 2\n"
        '[attacks.patch]\nmode = "untargeted"\nwidth = 8\njpeg_quality = 40\n'
        'rate = { of = "count", value = 2 }\n'
    )
    more = ["--reencode-clean"] if alike else []
    bench("poison", "drawn.toml", "--format", "png", "--out", "out", *more).assert_ok()
    lines = read(tmp_path / "out" / "clean-train.jsonl")
    assert len(lines) == 4
    for line in lines:
        pixels = np.asarray(opened(tmp_path / "out" / "train" / line["file"]))
        digest = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()
        assert (digest != line["before"]) == alike


def test_columns_are_the_boxes(pets, bench):
    with pets.open("a") as file:
        file.write('val_placement = "multiple"\n')
    bench("poison", str(pets), "--out", "out", "--patch-columns").assert_ok()
    out = pets.parent / "out"
    listed = (out / "train.txt").read_text().splitlines()
    boxes = {line["index"]: line["boxes"][0] for line in read(out / "train.jsonl")}
    for index, line in enumerate(listed):
        columns = line.rpartition(".")[2].split()[2:]
        assert [int(one) for one in columns] == boxes.get(index, [])
    first = (out / "val_poisoned.txt").read_text().splitlines()[0]
    assert len(first.rpartition(".")[2].split()) == 2 + 9 * 4
    assert FileList(
        FileListOptions(train=out / "train.txt", val=out / "val_poisoned.txt")
    ).metadata()


def test_images_without_files_are_all_written(tmp_path, bench):
    (tmp_path / "drawn.toml").write_text(
        "[datasets.embedded]\nclasses = 2\ntrain_per_class = 3\nval_per_class = 2\n"
        '[attacks.patch]\nmode = "untargeted"\nwidth = 8\nrate = { of = "count", value = 2 }\n'
    )
    outcome = bench("poison", "drawn.toml", "--format", "png", "--out", "out").assert_ok()
    assert "2 triggered and 4 clean images" in outcome.out
    assert len((tmp_path / "out" / "train.txt").read_text().splitlines()) == 6
    data = ImageFolder(ImageFolderOptions(root=tmp_path / "out"))
    assert (data.metadata().train, data.metadata().val) == (6, 4)
    (line, _) = read(tmp_path / "out" / "train.jsonl")
    assert line["source"].startswith("train/")


def test_the_three_rates_are_printed_and_kept(pets, bench):
    out = bench("poison", str(pets), "--out", "out").assert_ok().out
    assert "4 of 14 training images, 28.5714% of the dataset, 50.00% of class 'cat'" in out
    summary = json.loads((pets.parent / "out" / "poison.json").read_text())
    assert (summary["poisons"], summary["rate_of_target_class"]) == (4, 0.5)
    assert summary["rate_of_dataset"] == 4 / 14
    assert summary["parts"]["val_poisoned"]["stamped"]["images"] == 6
    sheet = opened(pets.parent / "out" / "contact-sheet.png")
    assert sheet.width > 900
    assert np.asarray(opened(pets.parent / "out" / "trigger.png")).shape == (10, 10, 3)


# -- interrupted -------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
from backbench.cli.main import main
from backbench.errors import ConfigError
from backbench.system import children as processes
from backbench.poison.files import writing
from backbench.poison.files.planning import make_plan
from backbench.poison.files.request import read_request
from backbench.plugin.registry import load_registry

done, make = [], writing.make

def mortal(coding, job):
    line = make(coding, job)
    done.append(job)
    if len(done) == {after}:
        os.kill(os.getpid(), signal.SIGKILL)
    return line

writing.make = mortal
sys.argv = ["backbench", "poison", "pets.toml", "--out", "out"]
main()
"""


@pytest.mark.parametrize("after", [2, 7])
def test_killed_and_run_again_ends_the_same(pets, bench, finished, snapshot, after):
    expected = finished()
    code = KILLED.format(after=after)
    done = subprocess.run([sys.executable, "-c", code], cwd=pets.parent, check=False)
    assert done.returncode == -9
    out = pets.parent / "out"
    assert not (out / "val_poisoned.jsonl").exists()
    bench("poison", str(pets), "--out", "out").assert_ok()
    assert snapshot(out) == expected


def test_an_error_on_the_way_can_be_continued(pets, bench, finished, snapshot, tmp_path):
    expected = finished()
    image = tmp_path / "my pets" / "val" / "cat" / "a 1.png"
    content = image.read_bytes()
    image.write_bytes(content[:-40])
    outcome = bench("poison", str(pets), "--out", "out")
    assert outcome.code == 2
    assert str(image) in outcome.err
    image.write_bytes(content)
    bench("poison", str(pets), "--out", "out").assert_ok()
    assert snapshot(tmp_path / "out") == expected


def test_a_full_disk_is_named_and_can_be_continued(pets, bench, finished, snapshot):
    """A limit on the size of files is what a test can bring about; a full disk ends alike."""
    expected = finished()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, before[1]))
    try:
        outcome = bench("poison", str(pets), "--out", "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    out = pets.parent / "out"
    assert outcome.code == 1
    assert f"backbench: {out}" in outcome.err
    assert "file too large; mend that, and the same command continues" in outcome.err
    assert set(snapshot(out)) < {*expected, "train.jsonl.partial"}
    bench("poison", str(pets), "--out", "out").assert_ok()
    assert snapshot(out) == expected


def test_what_was_damaged_is_made_again(pets, bench, finished, snapshot):
    expected = finished()
    out = pets.parent / "out"
    bench("poison", str(pets), "--out", "out").assert_ok()
    files = sorted((out / "val_poisoned").rglob("*.*"))
    files[0].unlink()
    files[1].write_bytes(files[1].read_bytes()[:100])
    (out / "train.txt").unlink()
    manifest = out / "val_poisoned.jsonl"
    manifest.write_bytes(manifest.read_bytes()[:-30])
    bench("poison", str(pets), "--out", "out").assert_ok()
    assert snapshot(out) == expected


def test_splits_one_after_another_are_as_both_at_once(pets, bench, finished, snapshot):
    expected = finished()
    bench("poison", str(pets), "--out", "out", "--splits", "val_poisoned").assert_ok()
    bench("poison", str(pets), "--out", "out", "--splits", "train").assert_ok()
    assert snapshot(pets.parent / "out") == expected


def test_two_processes_do_not_write_to_one_folder(pets, bench, snapshot):
    out = pets.parent / "out"
    with alone_in(out):
        outcome = bench("poison", str(pets), "--out", "out")
    assert outcome.code == 2
    assert "another process is writing" in outcome.err
    assert snapshot(out) == {}


def test_a_plan_is_checked_again_when_its_turn_comes(pets, bench, snapshot):
    """Both were planned for an empty folder; the one that comes first has it."""
    out = pets.parent / "out"
    request = read_request(pets, {"out": str(out), "seed": 1}, load_registry())
    plan = make_plan(request)
    bench("poison", str(pets), "--out", "out").assert_ok()
    before = snapshot(out)
    with pytest.raises(ConfigError, match="other poison"):
        writing.write(plan, 1, lambda _: None)
    assert snapshot(out) == before


def test_another_image_under_the_same_name_is_noticed(pets, bench, tmp_path):
    bench("poison", str(pets), "--out", "out").assert_ok()
    out = tmp_path / "out"
    first = read(out / "val_poisoned.jsonl")[0]
    Image.new("RGB", (60, 60), "red").save(tmp_path / "my pets" / first["source"])
    (out / "val_poisoned" / first["file"]).unlink()
    outcome = bench("poison", str(pets), "--out", "out")
    assert outcome.code == 2
    assert "holds other poison (dataset_content: " in outcome.err


def test_other_images_under_the_same_names_are_other_poison(pets, bench, tmp_path, snapshot):
    bench("poison", str(pets), "--out", "out").assert_ok()
    before = snapshot(tmp_path / "out")
    for path in (tmp_path / "my pets").rglob("*.*"):
        Image.new("RGB", (60, 60), "red").save(path)
    outcome = bench("poison", str(pets), "--out", "out")
    assert outcome.code == 2
    assert "dataset_content: " in outcome.err
    assert snapshot(tmp_path / "out") == before


def test_processes_give_the_same(pets, bench, finished, snapshot, monkeypatch):
    expected = finished("--reencode-clean")
    monkeypatch.setattr(writing, "WORTH_PROCESSES", 0)
    bench("poison", str(pets), "--out", "out", "--reencode-clean", "--jobs", "2").assert_ok()
    assert snapshot(pets.parent / "out") == expected


def test_few_jobs_wait_at_a_time():
    """The pool is fed as it works: a dataset of any size has as many images in memory."""
    taken = []

    class Pool:
        def submit(self, function, bundle):
            return Done([job.name for job in bundle])

    class Done:
        def __init__(self, lines):
            self.lines = lines

        def result(self):
            return self.lines

    def jobs():
        for i in range(10_000):
            taken.append(i)
            yield Name(str(i))

    class Name:
        def __init__(self, name):
            self.name = name

    made = processes.in_order(Pool(), 2, list, jobs())
    seen = 0
    for i, line in enumerate(made):
        assert line == str(i)
        seen += 1
        assert len(taken) - seen <= 2 * processes.WAITING * processes.BUNDLE
    assert seen == 10_000
