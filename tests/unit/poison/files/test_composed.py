"""Poisons that are made of several images, or added, as files."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backbench.data.attacker_images import AttackerImages
from backbench.data.dataset_options import FileListOptions, ImageFolderOptions
from backbench.data.file_list import FileList
from backbench.data.folder import ImageFolder
from backbench.errors import ConfigError
from backbench.plugin import Attack, AttackInfo, Box, Options, Part, Recipe, Stamp, hookimpl
from backbench.plugin.packages import Origin
from backbench.plugin.registry import load_registry
from backbench.poison.access import Access
from backbench.poison.files import writing
from backbench.poison.files.layout import file_names
from backbench.poison.files.planning import make_plan
from backbench.poison.files.request import read_request
from backbench.poison.poisoning import Poison

DATA = """
[datasets.pets]
plugin = "image-folder"
root = "my pets"
val_size = 48

"""

NOISY = """
[attacks.noisy-alignment]
target = "cat"
rate = { of = "count", value = 5 }
width = 10
"""

CORRUPT = """
[datasets.places]
plugin = "image-folder"
root = "places"

[attacks.corrupt-encoder]
target = "cat"
rate = { of = "count", value = 4 }
reference_images = "cut out"
backgrounds = "places"
references = 2
width = 8
support_ratio = 0.25
supports = 2
"""


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def pixels_of(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def save(path, size, channels=3):
    rng = np.random.default_rng(len(str(path)))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rng.integers(0, 256, (*size, channels), dtype=np.uint8)).save(path)


@pytest.fixture
def noisy(pets):
    pets.write_text(DATA + NOISY)
    return pets


@pytest.fixture
def corrupt(pets):
    """Objects with masks in a folder, backgrounds in another dataset."""
    for i in range(2):
        save(pets.parent / "cut out" / f"{i}.png", (50, 50), channels=4)
    for split in ("train", "val"):
        for i in range(3):
            save(pets.parent / "places" / split / "field" / f"{i}.png", (40, 60))
    pets.write_text(DATA + CORRUPT)
    return pets


def of_the_stage(file, attack, *options):
    """Return the lines and the images that a benchmark's poison has, from the same seed."""
    registry = load_registry()
    request = read_request(file, {"dataset": "pets", "attack": attack}, registry)
    data = ImageFolder(ImageFolderOptions(root=file.parent / "my pets", val_size=48))
    made = request.attack.registered.implementation()(request.attack.options, data.metadata())
    sets = {
        "reference_images": lambda: AttackerImages(file.parent / "cut out"),
        "backgrounds": lambda: ImageFolder(ImageFolderOptions(root=file.parent / "places")).load(
            "train"
        ),
    }
    access = Access(data.load("train"), {name: sets[name] for name in options})
    return list(Poison(made, access, 0).described())


def same_as_the_stage(lines, expected, folder):
    for line, (mark, image) in zip(lines, expected, strict=True):
        own = {name: line[name] for name in json.loads(mark.line())}
        assert own == json.loads(mark.line())
        assert np.array_equal(pixels_of(folder / line["file"]), image)


def test_added_poisons_are_files_and_lines_under_the_target(noisy, bench):
    done = bench("poison", str(noisy), "--out", "out", "--format", "png").assert_ok()
    assert "rate: 5 (5 added) of 19 training images" in done.out
    out = noisy.parent / "out"
    lines = read(out / "train.jsonl")
    same_as_the_stage(lines, of_the_stage(noisy, "noisy-alignment"), out / "train")
    assert [line["file"] for line in lines] == [f"cat/poison-{i:06d}.png" for i in range(5)]
    assert [len(line["parts"]) for line in lines] == [2] * 5
    clean = ImageFolder(ImageFolderOptions(root=noisy.parent / "my pets", val_size=48)).listing
    listed = FileList(FileListOptions(train=out / "train.txt", val=out / "val_poisoned.txt"))
    train = listed.listing.train
    assert list(train.paths) == [
        *clean.train.paths,
        *(str(out / "train" / line["file"]) for line in lines),
    ]
    cat = clean.classes.index("cat")
    assert train.labels.tolist() == [*clean.train.labels.tolist(), *[cat] * 5]
    summary = json.loads((out / "poison.json").read_text())
    assert (summary["poisons"], summary["added"], summary["rate_of_dataset"]) == (5, 5, 5 / 19)
    assert summary["threat"]["labels"] == ["train"]


def test_poisons_take_the_place_of_their_references(noisy, bench):
    noisy.write_text(noisy.read_text() + "replace = true\n")
    bench("poison", str(noisy), "--out", "out", "--format", "png", "--reencode-clean").assert_ok()
    out = noisy.parent / "out"
    lines = read(out / "train.jsonl")
    same_as_the_stage(lines, of_the_stage(noisy, "noisy-alignment"), out / "train")
    assert all(line["before"] and line["label"] == 1 for line in lines)
    assert len((out / "train.txt").read_text().splitlines()) == 14
    assert len(list((out / "train").rglob("*.png"))) == 14


def test_parts_come_from_a_folder_with_masks_and_from_another_dataset(corrupt, bench):
    given = ("--dataset", "pets", "--out", "out", "--format", "png")
    bench("poison", str(corrupt), *given).assert_ok()
    out = corrupt.parent / "out"
    lines = read(out / "train.jsonl")
    options = ("reference_images", "backgrounds")
    same_as_the_stage(lines, of_the_stage(corrupt, "corrupt-encoder", *options), out / "train")
    assert {part["set"] for line in lines for part in line["parts"]} == {"train", *options}
    # a support image shows no trigger
    assert sum(not line["boxes"] for line in lines) == 1
    # another set of images gives another poison
    save(corrupt.parent / "cut out" / "2.png", (50, 50), channels=4)
    refused = bench("poison", str(corrupt), *given)
    assert refused.code == 2
    assert "attack_sets" in refused.err


def test_it_is_continued_repaired_and_the_same_on_many_processes(
    noisy, bench, snapshot, monkeypatch
):
    given = ("poison", str(noisy), "--out", "out")
    bench(*given).assert_ok()
    out = noisy.parent / "out"
    expected = snapshot(out)
    manifest = out / "train.jsonl"
    lines = manifest.read_text().splitlines(keepends=True)
    manifest.rename(manifest.with_name("train.jsonl.partial"))
    (out / "train.jsonl.partial").write_text("".join(lines[:2]) + lines[2][:30])
    (out / "train" / read_file(lines[0])).write_bytes(b"damaged")
    (out / "train" / read_file(lines[4])).unlink()
    monkeypatch.setattr(writing, "WORTH_PROCESSES", 0)
    bench(*given, "--jobs", "2").assert_ok()
    assert snapshot(out) == expected


def read_file(line):
    return json.loads(line)["file"]


def test_an_added_name_is_never_that_of_an_image(noisy, bench):
    for name in ("poison-000000.JPEG", "Poison-000001.png", "poison-000000-16.jpg"):
        save(noisy.parent / "my pets" / "train" / "cat" / name, (60, 60))
    bench("poison", str(noisy), "--out", "out", "--reencode-clean").assert_ok()
    files = [line["file"] for line in read(noisy.parent / "out" / "train.jsonl")]
    listed = (noisy.parent / "out" / "train.txt").read_text().splitlines()
    assert len({line.lower() for line in listed}) == len(listed) == 14 + 3 + 5
    assert len(list((noisy.parent / "out" / "train").rglob("*.*"))) == 14 + 3 + 5
    assert len(set(files)) == 5


def test_a_name_with_a_number_that_is_taken_gets_another():
    sources = ["x/a-2.jpg", "x/a.jpg", "y/A.jpg"]
    assert file_names(sources, [0] * 3, ["x"], "jpeg") == ["x/a-2.jpg", "x/a.jpg", "x/A-2-2.jpg"]


@pytest.mark.parametrize(
    ("attack", "said"),
    [
        ("no-label", "no-label chooses its poisons by the features of a clean encoder, which only"),
        ("blto", "blto learns its trigger in a stage of `backbench run`"),
        ("badencoder", "badencoder changes encoders and poisons no image"),
    ],
)
def test_an_attack_that_needs_a_training_is_one_sentence(pets, bench, attack, said):
    target = "" if attack == "no-label" else 'target = "cat"\n'
    pets.write_text(f"{DATA}[attacks.{attack}]\n{target}")
    refused = bench("poison", str(pets), "--out", "out")
    assert refused.code == 2
    assert refused.err.count(f"attacks.{attack}: {said}") == 1
    assert not (pets.parent / "out").exists()


def test_a_dataset_of_the_attack_that_is_not_there_is_named(pets, bench):
    pets.write_text(
        f'{DATA}[attacks.corrupt-encoder]\ntarget = "cat"\nwidth = 8\nbackgrounds = "pest"\n'
    )
    refused = bench("poison", str(pets), "--out", "out")
    assert refused.code == 2
    assert "attacks.corrupt-encoder.backgrounds: no dataset is called 'pest'" in refused.err
    assert "did you mean 'pets'?" in refused.err


def test_a_trigger_that_does_not_fit_is_found_before_anything_is_written(corrupt, bench):
    corrupt.write_text(corrupt.read_text().replace("width = 8", "width = 47"))
    (corrupt.parent / "cut out" / "0.png").unlink()
    save(corrupt.parent / "cut out" / "0.png", (9, 9), channels=4)
    refused = bench("poison", str(corrupt), "--dataset", "pets", "--out", "out")
    assert refused.code == 2
    assert "attacks.corrupt-encoder" in refused.err
    assert "make width smaller" in refused.err
    assert not (corrupt.parent / "out").exists()


def test_a_part_that_cannot_be_read_is_named_before_anything_is_written(corrupt, bench):
    broken = corrupt.parent / "places" / "train" / "field" / "1.png"
    broken.write_bytes(broken.read_bytes()[:-60])
    refused = bench("poison", str(corrupt), "--dataset", "pets", "--out", "out")
    assert refused.code == 2
    assert str(broken) in refused.err
    assert not (corrupt.parent / "out").exists()


# -- of other packages -------------------------------------------------------------------------


class Other(Attack):
    """Adds two images beside each other, or raises an error."""

    target = 1

    def recipes(self, context, rng):
        return [Recipe((Part("train", 0), Part("train", 1)), None), Recipe((Part("train", 2),), 3)]

    def compose(self, parts, rng):
        height = min(map(len, parts))
        pixels = np.concatenate([part[:height] for part in parts], axis=1)
        return Stamp(pixels, Box(0, 0, 4, 4), 1.0)

    def stamp(self, image, rng, split):
        pixels = image.copy()
        pixels[:4, :4] = 255
        return Stamp(pixels, Box(0, 0, 4, 4), 1.0)


class Aimless(Other):
    target = None


class Broken(Other):
    def compose(self, parts, rng):
        raise KeyError("\x1b[31mred")


def plan_with(pets, attack):
    class Plugin:
        @hookimpl
        def register_attacks(self):
            yield AttackInfo(
                name="other", summary="Other.", target=f"{__name__}:{attack}", options=Options
            )

    pets.write_text(f"{DATA}[attacks.other]\n")
    registry = load_registry()
    registry.add(Plugin(), Origin("other", "1.0", "other"))
    out = Path(pets.parent / "out")
    return make_plan(read_request(pets, {"out": str(out), "format": "png"}, registry))


def test_an_attack_of_another_package_is_written(pets):
    plan = plan_with(pets, "Other")
    writing.write(plan, 1, lambda _: None)
    out = pets.parent / "out"
    replaced, added = read(out / "train.jsonl")
    assert (replaced["index"], added["index"], added["file"]) == (3, 14, "cat/poison-000000.png")
    assert added["before"] == ""
    parts = [pixels_of(pets.parent / "my pets" / part["source"]) for part in added["parts"]]
    height = min(map(len, parts))
    expected = np.concatenate([part[:height] for part in parts], axis=1)
    assert np.array_equal(pixels_of(out / "train" / added["file"]), expected)


@pytest.mark.parametrize(
    ("attack", "said"),
    [
        ("Aimless", "the attack adds images and has no target"),
        ("Broken", "train/cat/a 0.JPEG: compose raised KeyError"),
    ],
)
def test_an_attack_of_another_package_that_cannot_be_written(pets, attack, said):
    with pytest.raises(ConfigError, match=said) as caught:
        plan_with(pets, attack)
    assert "\x1b" not in str(caught.value)
    assert not (pets.parent / "out").exists()
