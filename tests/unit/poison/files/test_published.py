"""The published configuration files, read as they are."""

import json

import numpy as np
import pytest
from PIL import Image

from backbench.data.classes import class_list
from backbench.errors import ConfigError
from backbench.poison.files.published import (
    Published,
    is_published,
    notes_on,
    read_published,
    to_tables,
)
from backbench_attacks.patch_options import PatchOptions

# The keys and values of the shipped files (the fact sheet, section 2), with paths of our own.
INI = """\
[experiment]
ID=HTBA_trigger_10_targeted_n02106550

[poison_generation]
data_root={root}
text=false
fntsize=30
trigger=triggers/trigger_10.png
alpha_composite=true
train_location=random
train_location_min=0.25
train_location_max=0.75
train_alpha=0.00
watermark_width=50
targeted=true
target_wnid=n02106550
poison_injection_rate=1.0
val_location=random
val_location_min=0.10
val_location_max=0.90
val_alpha=0.00
poison_savedir={root}/saved/{{}}
logfile=logs/{{}}/patched_generation.log
splits=train,val_poisoned
patch_params=false
"""
TRAIN_TAG = "loc_random_loc-min_0.25_loc-max_0.75_alpha_0.00_width_50_rate_1.00_targeted_True"
VAL_TAG = "loc_random_loc-min_0.10_loc-max_0.90_alpha_0.00_width_50"
ID = "HTBA_trigger_10_targeted_n02106550"


def changed(**values):
    text = INI.format(root="/data")
    for key, value in values.items():
        (line,) = [one for one in text.splitlines() if one.startswith(f"{key}=")]
        text = text.replace(line, f"{key}={value}")
    return text


def read(**values):
    return read_published(changed(**values), "x.cfg")


def problems(text):
    with pytest.raises(ConfigError) as caught:
        read_published(text, "x.cfg")
    return {problem.path.rpartition(".")[2]: problem.message for problem in caught.value.problems}


# -- reading -----------------------------------------------------------------------------------


def test_every_key_is_read():
    found = read()
    assert found == Published(
        id=ID,
        data_root="/data",
        text=False,
        fntsize=30,
        trigger="triggers/trigger_10.png",
        alpha_composite=True,
        train_location="random",
        train_location_min=0.25,
        train_location_max=0.75,
        train_alpha=0.0,
        watermark_width=50,
        targeted=True,
        target_wnid="n02106550",
        poison_injection_rate=1.0,
        val_location="random",
        val_location_min=0.1,
        val_location_max=0.9,
        val_alpha=0.0,
        poison_savedir=f"/data/saved/{ID}",
        logfile=f"logs/{ID}/patched_generation.log",
        splits=("train", "val_poisoned"),
        patch_params=False,
    )
    assert found.notes == ()


def test_the_splits_may_hold_spaces():
    assert read(splits="train, val_poisoned ").splits == ("train", "val_poisoned")


def test_val_is_passed_over_and_said():
    found = read(splits="val,train")
    assert found.splits == ("train",)
    assert any("val is ignored" in note for note in found.notes)


@pytest.mark.parametrize(("text", "value"), [("50%%", "50%"), ("50%", "50%"), ("%(x)s", "%(x)s")])
def test_percent_signs(text, value):
    found = read(trigger=text)
    assert found.trigger == value
    assert bool(found.notes) == (text != "50%%")


@pytest.mark.parametrize("text", ["yes", "True", "1", "on"])
def test_truth_as_configparser_has_it(text):
    assert read(patch_params=text).patch_params is True


def test_all_problems_come_at_once():
    text = changed(
        watermark_width="wide", train_location="centr", splits="train,vall", text="maybe"
    ).replace("val_alpha=0.00\n", "")
    found = problems(text)
    assert found.keys() == {"watermark_width", "train_location", "splits", "text", "val_alpha"}
    assert "did you mean 'center'?" in found["train_location"]
    assert found["splits"] == "no split is called 'vall' (there are: train, val_poisoned)"
    assert "is missing" in found["val_alpha"]
    assert "whole number" in found["watermark_width"]


def test_what_is_no_such_file():
    assert not is_published("[datasets.x]\n")
    assert is_published(changed())
    assert "not a configuration file" in problems("[poison_generation\n")[""]
    assert problems("[poison_generation]\n")["ID"] == "is missing"


def test_an_unknown_key_is_passed_over_and_said():
    found = read_published(changed() + "val_alhpa=1\n", "x.cfg")
    assert found.notes == ("val_alhpa: no such key; ignored: did you mean 'val_alpha'?",)


# -- to tables ---------------------------------------------------------------------------------


def tables(**values):
    return to_tables(read(**values), lambda name: name)


def test_the_published_values_in_our_words():
    found = tables()
    assert found["attacks"]["patch"] == {
        "plugin": "patch",
        "mode": "targeted",
        "target": "n02106550",
        "rate": {"of": "target_class", "value": 1.0},
        "trigger": "triggers/trigger_10.png",
        "blend": "composite",
        "width": 50,
        "train_placement": "random",
        "train_location": [0.25, 0.75],
        "val_placement": "random",
        "val_location": [0.1, 0.9],
        "opacity": 1.0,
        "jpeg_quality": 75,
    }
    assert found["datasets"]["imagenet100"] == {
        "plugin": "image-folder",
        "root": "/data",
        "classes": "imagenet100",
        "val_size": 224,
    }


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"targeted": "false"}, {"mode": "untargeted", "rate": {"of": "dataset", "value": 1.0}}),
        ({"train_alpha": "0.2"}, {"opacity": 0.8, "val_opacity": 1.0}),
        ({"train_alpha": "0.25", "val_alpha": "0.25"}, {"opacity": 0.75}),
        ({"alpha_composite": "no"}, {"blend": "paste"}),
        ({"val_location": "multiple"}, {"val_placement": "multiple"}),
    ],
)
def test_every_option_has_a_counterpart(values, expected):
    attack = tables(**values)["attacks"]["patch"]
    assert {key: attack[key] for key in expected} == expected
    assert ("target" in attack) == (values.get("targeted") != "false")
    del attack["plugin"], attack["trigger"]
    PatchOptions(**attack)


def test_text_keeps_the_published_ink():
    found = read(text="true", trigger="a % b", fntsize="20", train_alpha="0.9")
    attack = to_tables(found, lambda name: name)["attacks"]["patch"]
    assert (attack["text"], attack["text_size"]) == ("a % b", 20)
    assert not {"opacity", "trigger", "blend"} & attack.keys()
    notes = " ".join(notes_on(found))
    assert "128 of 255" in notes
    assert "fntsize" in notes
    assert "val_location_min" in notes
    assert "train_location_min" not in notes


def test_what_has_no_counterpart_is_said():
    assert notes_on(read()) == [f"logfile: not written (logs/{ID}/patched_generation.log)"]
    notes = " ".join(notes_on(read(alpha_composite="false", train_alpha="0.5")))
    assert "ignores them for paste" in notes
    assert any("target_wnid" in note for note in notes_on(read(targeted="false")))


# -- as it is ----------------------------------------------------------------------------------


@pytest.fixture
def imagenet100(tmp_path):
    """A hundred classes with two training images and a validation image each."""
    rng = np.random.default_rng(0)
    for name in class_list("imagenet100"):
        for split, count in (("train", 2), ("val", 1)):
            folder = tmp_path / "in100" / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
                Image.fromarray(pixels).save(folder / f"{name}_{i}.JPEG")
    (tmp_path / "poison-generation" / "cfg").mkdir(parents=True)
    (tmp_path / "poison-generation" / "triggers").mkdir()
    Image.new("RGB", (80, 80), "red").save(
        tmp_path / "poison-generation" / "triggers" / "trigger_10.png"
    )
    return tmp_path / "in100"


def test_a_published_file_as_it_is(imagenet100, tmp_path, bench):
    cfg = tmp_path / "poison-generation" / "cfg" / "one.cfg"
    cfg.write_text(INI.format(root=imagenet100))
    outcome = bench("poison", str(cfg)).assert_ok()
    assert "2 of 200 training images, 1.0000% of the dataset, 100.00%" in outcome.out
    assert "logfile: not written" in outcome.err
    train = tmp_path / "data" / ID / "train" / f"{TRAIN_TAG}_filelist.txt"
    val = tmp_path / "data" / ID / "val_poisoned" / f"{VAL_TAG}_filelist.txt"
    rows = [line.split() for line in train.read_text().splitlines()]
    assert len(rows) == 200
    poisoned = imagenet100 / "saved" / ID / "train" / TRAIN_TAG / "n02106550"
    assert [row for row in rows if row[0].startswith(str(poisoned))] == [
        [str(poisoned / f"n02106550_{i}.JPEG"), "26"] for i in range(2)
    ]
    first = val.read_text().split()[:2]
    folder = imagenet100 / "saved" / ID / "val_poisoned" / VAL_TAG
    assert first == [str(folder / "n01558993" / "n01558993_0.JPEG"), "0"]
    with Image.open(first[0]) as image:
        assert image.size == (224, 224)
        assert image.quantization[0][0] == 8  # quality 75
    summary = json.loads((tmp_path / "data" / ID / "poison.json").read_text())
    assert summary["target"] == 26


def test_out_keeps_everything_together(imagenet100, tmp_path, bench):
    cfg = tmp_path / "one.cfg"
    cfg.write_text(INI.format(root=imagenet100).replace("triggers/", "poison-generation/triggers/"))
    bench("poison", str(cfg), "--out", "here", "--patch-columns", "--splits", "train").assert_ok()
    here = tmp_path / "here"
    tag = f"{TRAIN_TAG}_w-patch-parameters"
    listed = here / "data" / ID / "train" / f"{tag}_filelist.txt"
    columns = [len(line.split()) for line in listed.read_text().splitlines()]
    assert columns.count(6) == 2
    assert columns.count(2) == 198
    assert (here / "train" / tag / "n02106550").is_dir()
    assert not (imagenet100 / "saved").exists()
