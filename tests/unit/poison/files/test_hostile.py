"""Whatever lists and configurations say, nothing is written beside the folder, or for nothing."""

import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from backbench.data.decode import decode, flaw
from backbench.errors import ConfigError, DataError
from backbench.poison.files.layout import file_names
from backbench.poison.files.published import is_published, read_published
from backbench.poison.files.request import PoisonTable, read_tables

LISTS = """
[datasets.pets]
plugin = "file-list"
train = "train.txt"
val = "train.txt"
{classes}
[attacks.patch]
target = "{target}"
width = 4
"""


@pytest.fixture
def tree(tmp_path):
    """Two images far below the folder of the test, and two above them."""
    folder = tmp_path / "a" / "b" / "lists"
    folder.mkdir(parents=True)
    for place in (tmp_path / "up", folder.parent / "ok"):
        place.mkdir(parents=True)
        for i in range(2):
            Image.new("RGB", (16, 16), (9 * i, 0, 0)).save(place / f"{i}.png")
    return folder


def poison(bench, folder, lines, *, classes="", target="0", names=None):
    (folder / "train.txt").write_text("\n".join(lines))
    if names is not None:
        (folder / "classes.txt").write_text("\n".join(names))
    (folder / "p.toml").write_text(LISTS.format(classes=classes, target=target))
    return bench("poison", str(folder / "p.toml"), "--out", str(folder / "out"), "--format", "png")


def test_a_class_called_like_the_folder_above_is_refused(bench, tree, snapshot, tmp_path):
    lines = [*(f"{tmp_path}/up/{i}.png 0" for i in range(2)), *(f"../ok/{i}.png 1" for i in (0, 1))]
    before = snapshot(tmp_path / "up")
    done = poison(
        bench, tree, lines, classes='classes = "classes.txt"', target="..", names=["..", "ok"]
    )
    assert done.code == 2
    assert "'..': no name" in done.err
    assert not (tree / "out").exists()
    assert snapshot(tmp_path / "up") == before


def test_steps_upwards_in_a_list_stay_below_the_folder(bench, tree, snapshot, tmp_path):
    lines = [*(f"../../../up/{i}.png 0" for i in range(2)), *(f"../ok/{i}.png 1" for i in (0, 1))]
    before = snapshot(tmp_path / "up")
    poison(bench, tree, lines, target="up").assert_ok()
    assert snapshot(tmp_path / "up") == before
    assert sorted(one.name for one in (tree / "out" / "val_poisoned" / "up").iterdir()) == [
        "0.png",
        "1.png",
    ]


def test_no_source_leads_out_of_its_class():
    sources = ["../../x/../../y.png", "..", "/etc/..", "c/../../y.png", "a/c/../z/./y.png"]
    names = file_names(sources, [0] * 5, ["c"], "png")
    assert all(os.path.normpath(name) == name and name.startswith("c/") for name in names)


INI = """[experiment]
ID={ident}
{indent}[poison_generation]
data_root=x
"""


@pytest.mark.parametrize("ident", ["../../../esc", "..", "a/b", "x\x1b"])
def test_an_id_that_leaves_the_folder_is_refused(ident, tmp_path):
    with pytest.raises(ConfigError, match=r"experiment\.ID: becomes part of a folder's name"):
        read_published(INI.format(ident=ident, indent=""), "p.cfg")
    (tmp_path / "p.toml").write_text(f"[poison]\nid = {json.dumps(ident)}\n")
    with pytest.raises(ValueError, match="becomes part of a folder's name"):
        PoisonTable.model_validate(read_tables(tmp_path / "p.toml")[0]["poison"])


def test_an_indented_section_is_one_sentence():
    with pytest.raises(ConfigError, match=r"\[poison_generation\]: its line is indented"):
        read_published(INI.format(ident="x", indent="  "), "p.cfg")


def test_references_that_grow_without_end_are_refused_at_once():
    lines = [f"a{i}={10 * f'%(a{i + 1})s'}" for i in range(9)]
    text = INI.format(ident="%(a0)s", indent="") + "\n".join(lines)
    with pytest.raises(ConfigError, match="or 20 references"):
        read_published(text, "p.cfg")


def test_all_bad_images_are_named_before_anything_is_written(pets, bench):
    folder = pets.parent / "my pets"
    bad = sorted((folder / "val" / "cat").iterdir())
    for path in bad:
        path.write_bytes(path.read_bytes()[:-100])
    done = bench("poison", str(pets), "--out", "out")
    assert done.code == 2
    assert all(path.name in done.err for path in bad)
    assert not (pets.parent / "out").exists()


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "gif"])
def test_a_flaw_is_what_decoding_finds(tmp_path, suffix):
    path = tmp_path / f"x.{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    assert flaw(path) == ""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError) as caught:
        decode(path)
    assert flaw(path) == str(caught.value)


def test_a_trigger_that_jpeg_erases_is_refused_and_png_is_named(pets, bench):
    image = np.full((48, 48, 3), 128, np.uint8)
    image[..., 0] += np.indices((48, 48)).sum(0).astype(np.uint8) % 2 * 40
    Image.fromarray(image).save(pets.parent / "checks.png")
    text = pets.read_text().replace(
        "width = 10", 'trigger = "checks.png"\nwidth = 48\nopacity = 0.1'
    )
    pets.write_text(text)
    done = bench("poison", str(pets), "--out", "out", "--quality", "30")
    assert done.code == 2
    assert "format: JPEG of quality 30, with half the resolution in color" in done.err
    assert "choose png (--format png)" in done.err
    assert not (pets.parent / "out").exists()
    bench("poison", str(pets), "--out", "out", "--format", "png").assert_ok()
    shutil.rmtree(pets.parent / "out")


@pytest.mark.parametrize("more", ["x" * 10**6, "\n" * 10**6, "?\n" * 30_000])
def test_a_huge_configuration_is_refused_at_once(more):
    text = INI.format(ident="x", indent="")
    assert is_published(f"{more}\n{text}")
    with pytest.raises(ConfigError) as caught:
        read_published(text + more, "p.cfg")
    assert len(str(caught.value)) < 500
