"""What is wrong is said before anything is written, all of it at once."""

import json

import pytest
from PIL import Image

from backbench.poison.files.layout import file_names

ARGUMENTS = ("--out", "out")


@pytest.fixture
def refused(pets, bench):
    """Change the file, run, and return what is said; nothing may have been written."""

    def run(*arguments, old="", new=""):
        pets.write_text(pets.read_text().replace(old, new) if old else pets.read_text() + new)
        outcome = bench("poison", str(pets), *ARGUMENTS, *arguments)
        assert outcome.code == 2, outcome.err
        assert not (pets.parent / "out").exists()
        return outcome.err

    return run


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('target = "cat"', 'target = "cta"', "did you mean 'cat'?"),
        ("value = 0.5", "value = 0.01", "less than one image"),
        ('of = "target_class", value = 0.5', 'of = "count", value = 9', "only 8 may be poisoned"),
        ("", 'val_placement = "centr"\n', "val_placement"),
        ("", 'blend = "paste"\ntext = " "\n', "draws nothing"),
        ("width = 10", "widht = 10", "did you mean 'width'?"),
        ("my pets", "no pets", "no such folder"),
        ("", '[poison]\nsplits = ["train", "vla"]\n', "poison.splits"),
        ("", "[poison]\nqualtiy = 3\n", "did you mean 'quality'?"),
        ("", '[poison]\nformat = "png"\nquality = 80\n', "is of JPEGs"),
        ("", "jpeg_quality = 60\n[poison]\nquality = 80\n", "leave one out"),
        ("", "[attacks.two]\nplugin = 'patch'\n", "choose with --attack: patch, two"),
        ("plugin = ", "plugni = ", "datasets.pets"),
        ("[datasets.pets]", "[dataset.pets]", "the file has none"),
    ],
)
def test_a_problem_names_its_place_and_remedy(refused, old, new, said):
    assert said in refused(old=old, new=new)


def test_problems_come_at_once(refused):
    said = refused("--splits", "train,vall", "--attack", "patch", old='"cat"', new='"cow"')
    assert "splits" in said
    assert "'cow'" in said


def test_a_misspelt_attack_is_helped(refused):
    assert "did you mean 'patch'?" in refused("--attack", "ptach")


def test_images_smaller_than_the_trigger_are_named(refused, tmp_path):
    small = tmp_path / "my pets" / "train" / "cat" / "a 3.JPEG"
    Image.new("RGB", (60, 9)).save(small)
    said = refused("--splits", "train", old="value = 0.5", new="value = 1.0")
    assert "train/cat/a 3.JPEG" in said
    assert "10 x 10 px, larger than an image of 60 x 9" in said
    assert said.count("larger") == 1


def test_the_validation_square_may_be_too_small(refused):
    assert "larger than an image of 48 x 48" in refused(old="width = 10", new="width = 49")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--seed", "1"), "seed: 0, now 1"),
        (("--quality", "80"), "quality: 75, now 80"),
        (("--format", "png"), "format: 'jpeg', now 'png'"),
        (("--reencode-clean",), "reencode_clean: False, now True"),
    ],
)
def test_other_poison_in_the_folder_is_left_alone(pets, bench, snapshot, arguments, said):
    bench("poison", str(pets), *ARGUMENTS).assert_ok()
    before = snapshot(pets.parent / "out")
    outcome = bench("poison", str(pets), *ARGUMENTS, *arguments)
    assert outcome.code == 2
    assert said in outcome.err
    assert snapshot(pets.parent / "out") == before


def test_a_folder_of_something_else_is_left_alone(pets, bench, snapshot):
    out = pets.parent / "out"
    (out / "train").mkdir(parents=True)
    (out / "train" / "mine.txt").write_text("")
    (out / "val_poisoned.txt").write_text("")
    before = snapshot(out)
    outcome = bench("poison", str(pets), *ARGUMENTS)
    assert outcome.code == 2
    assert outcome.err.count("not ours") == 2
    (out / "poison.json").write_text("[]")
    assert "not a summary of ours" in bench("poison", str(pets), *ARGUMENTS).err
    (out / "poison.json").unlink()
    assert snapshot(out) == before


def test_an_image_of_the_user_is_not_replaced_by_that_of_the_trigger(pets, bench, snapshot):
    for name in ("trigger.png", "contact-sheet.png"):
        (pets.parent / name).write_bytes(b"mine")
    before = snapshot(pets.parent)
    outcome = bench("poison", str(pets), "--out", ".")
    assert outcome.code == 2
    assert outcome.err.count("is there and not ours; choose another folder") == 2
    assert snapshot(pets.parent) == before


def test_the_data_set_is_never_written_over(pets, bench, snapshot):
    before = snapshot(pets.parent)
    for out in ("my pets", "my pets/train/../../my pets"):
        outcome = bench("poison", str(pets), "--out", out)
        assert outcome.code == 2
        assert "the dataset itself lies there" in outcome.err
    outcome = bench("poison", str(pets), "--out", "my pets/train")
    assert outcome.code == 2
    assert "among the class folders" in outcome.err
    assert snapshot(pets.parent) == before


def test_a_link_into_the_data_set_is_never_written_through(pets, bench, snapshot):
    (pets.parent / "link").symlink_to("my pets/train")
    (pets.parent / "whole").symlink_to("my pets")
    before = snapshot(pets.parent)
    for out, said in (("link", "among the class folders"), ("whole", "the dataset itself lies")):
        outcome = bench("poison", str(pets), "--out", out)
        assert (outcome.code, said in outcome.err) == (2, True), outcome
    assert snapshot(pets.parent) == before


@pytest.mark.parametrize("kind", ["file", "summary is a folder", "images are a file", "deep"])
def test_a_folder_that_cannot_be_written_is_one_problem(pets, bench, kind):
    out = pets.parent / "out"
    if kind == "file":
        pets.write_text(pets.read_text() + '\n[poison]\nout = "pets.toml/below"\n')
    elif kind == "summary is a folder":
        (out / "poison.json").mkdir(parents=True)
    elif kind == "deep":
        out.mkdir()
        (out / "poison.json").write_text("[" * 100_000)
    else:
        out.mkdir()
        (out / "train").touch()
    given = () if kind == "file" else ("--out", "out")
    outcome = bench("poison", str(pets), "--attack", "patch", *given)
    assert outcome.code == 2
    assert "\n  out: " in outcome.err
    assert len(outcome.err.splitlines()) == 2
    assert not list(out.rglob("*.partial"))


@pytest.mark.parametrize("name", ["nowhere.toml", "notes.txt"])
def test_a_file_that_is_none(pets, bench, name):
    (pets.parent / "notes.txt").write_text("hello there")
    outcome = bench("poison", name)
    assert outcome.code == 2
    assert name in outcome.err


def test_names_are_told_apart():
    sources = ["train/ant/a.png", "train/ant/b/a.png", "elsewhere/A.jpg", "x/a.jpeg", "train/7"]
    names = file_names(sources, [0, 0, 0, 0, 1], ["ant", "../b/c"], "jpeg")
    assert names == ["ant/a.jpg", "ant/b/a.jpg", "ant/A-2.jpg", "ant/a.jpeg", "_.._b_c/7.jpg"]


def test_the_table_poison_and_the_command_line(pets, bench):
    """The command line goes before the table; the table's folder is relative to its file."""
    folder = pets.parent / "config"
    folder.mkdir()
    moved = folder / "pets.toml"
    text = pets.read_text().replace('"my pets"', '"../my pets"')
    moved.write_text(text + '[poison]\nout = "deep"\nseed = 3\nsplits = "val_poisoned, train"\n')
    bench("poison", str(moved), "--seed", "4").assert_ok()
    summary = json.loads((folder / "deep" / "poison.json").read_text())
    assert summary["request"]["seed"] == 4
    assert set(summary["parts"]) == {"train", "val_poisoned"}


def test_a_benchmark_file_gives_its_first_seed(pets, bench):
    with pets.open("a") as file:
        file.write("[benchmark]\nseeds = [5, 6]\n")
        file.write("[[matrix]]\ndatasets='pets'\nattacks=['none','patch']\nmethods='moco-v2'\n")
        file.write("evaluators='knn'\n")
    bench("poison", str(pets), "--out", "out", "--splits", "train").assert_ok()
    assert json.loads((pets.parent / "out" / "poison.json").read_text())["request"]["seed"] == 5


@pytest.mark.parametrize(
    ("header", "sentence"),
    [
        ("seed = 5", "benchmark.seed: unknown key: did you mean 'seeds'?"),
        ("seeds = [-1, 0]", "benchmark.seeds.0: should be greater than or equal to 0"),
        ('seeds = ["5"]', "benchmark.seeds.0: should be a valid integer"),
    ],
)
def test_seeds_that_are_none_are_not_taken_for_0(pets, bench, header, sentence):
    with pets.open("a") as file:
        file.write(f"[benchmark]\n{header}\n")
    outcome = bench("poison", str(pets), "--out", "out")
    assert (outcome.code, sentence in outcome.err) == (2, True), outcome.err


def test_a_matrix_of_other_values_than_names_is_no_traceback(pets, bench):
    with pets.open("a") as file:
        file.write("[[matrix]]\ndatasets = 5\nattacks = [{}]\n")
    bench("poison", str(pets), "--out", "out", "--splits", "train").assert_ok()
