"""The patch attack: options, problems, choice and stamping."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

import backbench_attacks
from backbench.plugin import DatasetMetadata
from backbench_attacks.patch import Patch
from backbench_attacks.patch_options import PatchOptions, Rate

METADATA = DatasetMetadata(("ant", "bee", "cat"), 90, 30, (32, 32), (20, 30, 40))
LABELS = np.repeat(np.arange(3), METADATA.train_per_class)


def options(**values):
    return PatchOptions(**{"target": "bee", "width": 8, **values})


def chosen(opts, seed=0):
    return Patch(opts, METADATA).choose(LABELS, np.random.default_rng(seed))


def messages(**values):
    with pytest.raises(ValidationError) as caught:
        PatchOptions(**values)
    return {
        ".".join(map(str, error["loc"])): error["msg"]
        for error in caught.value.errors()
        if error["type"] != "default_factory_not_called"  # follows from another problem
    }


# -- options ----------------------------------------------------------------------------------


def test_default_rate_depends_on_the_mode():
    assert options().rate == Rate(of="target_class", value=0.5)
    assert PatchOptions(mode="untargeted").rate == Rate(of="dataset", value=0.05)


def test_all_problems_of_the_options_come_at_once():
    found = messages(
        mode="untargeted",
        target="bee",
        rate={"of": "target_class", "value": 0.5},
        width=0,
        opacity=0,
        train_location=(0.9, 0.1),
        val_location=(1, 1),
        trigger="nowhere.png",
    )
    fields = {name.partition(".")[0] for name in found}
    assert fields == {
        *("target", "rate", "width", "opacity"),
        *("train_location", "val_location", "trigger"),
    }
    assert any("no such file" in message for message in found.values())


def test_only_the_targeted_attack_reads_labels():
    assert Patch(options(), METADATA).reads_labels
    untargeted = Patch(PatchOptions(mode="untargeted", width=8), METADATA)
    assert not untargeted.reads_labels
    of_all = untargeted.choose(LABELS, np.random.default_rng(0))
    without = untargeted.choose(np.full(len(LABELS), -1), np.random.default_rng(0))
    np.testing.assert_array_equal(of_all, without)


def test_targeted_needs_a_target():
    assert "name of a class" in messages(width=8)["target"]


@pytest.mark.parametrize(
    ("rate", "reason"),
    [
        ({"of": "dataset", "value": 5}, 'set of = "count"'),
        ({"of": "count", "value": 2.5}, "not whole"),
        ({"of": "count", "value": 0}, "greater than 0"),
        ({"of": "class", "value": 0.5}, "target_class"),
        ({"value": 0.5}, "required"),
        ({"of": "count", "value": 2, "extra": 1}, "not permitted"),
    ],
)
def test_rate_says_what_is_wrong(rate, reason):
    assert any(reason in m for m in messages(target="bee", rate=rate).values())


def test_options_round_trip_through_json(tmp_path):
    path = tmp_path / "my trigger.png"
    Image.new("RGB", (10, 5), "red").save(path)
    for opts in (options(), options(trigger=str(path)), PatchOptions(mode="untargeted")):
        assert PatchOptions(**json.loads(json.dumps(opts.model_dump(mode="json")))) == opts


def test_a_changed_trigger_file_changes_the_options(tmp_path):
    path = tmp_path / "t.png"
    Image.new("RGB", (8, 8), "red").save(path)
    before = options(trigger=path)
    Image.new("RGB", (8, 8), "blue").save(path)
    after = options(trigger=path)
    assert before.trigger_sha256 != after.trigger_sha256
    with pytest.raises(ValidationError, match="has changed"):
        PatchOptions(**before.model_dump(mode="json"))


def test_made_trigger_has_no_file_hash():
    assert options(trigger=3).trigger_sha256 is None
    assert messages(target="bee", trigger=3, trigger_sha256="0" * 64).keys() == {"trigger_sha256"}


# -- problems on a dataset ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, []),
        ({"target": "be"}, ["did you mean 'bee'?"]),
        ({"target": "zzz"}, ["no class 'zzz' (there are: ant, bee, cat)"]),
        ({"rate": {"of": "count", "value": 31}}, ["only 30 may be poisoned"]),
        ({"rate": {"of": "dataset", "value": 0.5}}, ["45 images to poison, and only 30"]),
        ({"rate": {"of": "target_class", "value": 0.01}}, ["less than one image"]),
        ({"width": 33}, ["33 x 33 px, larger than an image of 32 x 32"]),
        ({"width": 50, "target": "x"}, ["no class 'x'", "50 x 50"]),
        ({"width": 50, "rate": {"of": "count", "value": 99}}, ["only 30", "50 x 50"]),
    ],
)
def test_problems_name_the_option_and_the_remedy(values, expected):
    found = list(options(**values).problems(METADATA))
    assert len(found) == len(expected)
    assert all(want in got for want, got in zip(expected, found, strict=True))


def test_no_size_no_problem_of_width():
    metadata = DatasetMetadata(("bee",), 10, 10, None, (10,))
    assert not list(options(width=5000).problems(metadata))


@pytest.mark.parametrize(
    ("target", "width", "too_large"),
    [
        ("ant", 20, False),
        ("ant", 21, True),
        ("bee", 40, False),
        (None, 20, True),
        (None, 10, False),
    ],
)
def test_the_smallest_image_that_may_get_the_trigger_counts(target, width, too_large):
    sizes = replace(METADATA, size=None, smallest=((20, 30), (50, 40), (10, 99)))
    more = {} if target else {"mode": "untargeted"}
    found = list(PatchOptions(target=target, width=width, **more).problems(sizes))
    assert bool(found) == too_large
    assert all("larger than an image of" in one for one in found)


# -- choosing ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rate", "count"),
    [
        (("target_class", 1.0), 30),
        (("target_class", 0.5), 15),
        (("target_class", 0.29), 8),  # int(8.7)
        (("dataset", 0.1), 9),
        (("count", 7), 7),
    ],
)
def test_targeted_poisons_only_its_class_and_as_many_as_said(rate, count):
    picked = chosen(options(rate=Rate(of=rate[0], value=rate[1])))
    assert len(picked) == len(set(picked.tolist())) == count
    assert set(LABELS[picked].tolist()) == {1}
    assert picked.dtype == np.int64


def test_untargeted_poisons_any_class():
    opts = PatchOptions(mode="untargeted", width=8, rate={"of": "dataset", "value": 0.5})
    picked = chosen(opts)
    assert len(set(picked.tolist())) == 45
    assert set(LABELS[picked].tolist()) == {0, 1, 2}
    assert Patch(opts, METADATA).target is None


def test_choice_depends_on_the_generator_only_and_rates_nest():
    whole = chosen(options(rate=Rate(of="count", value=20)))
    assert np.array_equal(whole, chosen(options(rate=Rate(of="count", value=20))))
    assert not np.array_equal(whole, chosen(options(rate=Rate(of="count", value=20)), seed=1))
    assert set(chosen(options(rate=Rate(of="count", value=5)))) <= set(whole)


def test_choosing_too_many_is_an_error():
    with pytest.raises(ValueError, match="only 30"):
        chosen(options(rate=Rate(of="count", value=31)))


# -- stamping ---------------------------------------------------------------------------------


@pytest.mark.parametrize("opacity", [1.0, 0.4])
def test_stamp_changes_the_box_and_nothing_else(opacity):
    attack = Patch(options(opacity=opacity), METADATA)
    image = np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    image.flags.writeable = False
    stamp = attack.stamp(image, np.random.default_rng(2), "train")
    x, y, width, height = stamp.box
    outside = np.ones((32, 32), bool)
    outside[y : y + height, x : x + width] = False
    assert (width, height) == (8, 8)
    assert np.array_equal(stamp.pixels[outside], image[outside])
    assert not np.array_equal(stamp.pixels, image)
    assert stamp.pixels.dtype == np.uint8
    assert stamp.opacity == opacity


def test_splits_have_their_own_ranges():
    attack = Patch(options(train_location=(0, 0.3), val_location=(0.7, 1)), METADATA)
    image = np.zeros((32, 32, 3), np.uint8)
    for seed in range(50):
        rng = np.random.default_rng(seed)
        assert attack.stamp(image, rng, "train").box.x <= 1
        assert attack.stamp(image, rng, "val").box.x >= 22


def test_stamp_is_deterministic():
    attack = Patch(options(), METADATA)
    image = np.zeros((32, 32, 3), np.uint8)
    one, two = (attack.stamp(image, np.random.default_rng(5), "val") for _ in range(2))
    assert one.box == two.box
    assert np.array_equal(one.pixels, two.pixels)


@pytest.mark.parametrize("shape", [(7, 32, 3), (32, 7, 3)])
def test_stamp_names_the_size_of_a_image_too_small(shape):
    with pytest.raises(ValueError, match=f"8 x 8 px, larger than an image of {shape[1]} x"):
        Patch(options(), METADATA).stamp(np.zeros(shape, np.uint8), np.random.default_rng(0), "val")


def test_own_image_is_pasted(tmp_path):
    path = tmp_path / "t.png"
    Image.new("RGB", (10, 5), (1, 2, 3)).save(path)
    stamp = Patch(options(trigger=path), METADATA).stamp(
        np.zeros((32, 32, 3), np.uint8), np.random.default_rng(0), "val"
    )
    x, y, width, height = stamp.box
    assert (width, height) == (8, 4)
    assert np.all(stamp.pixels[y : y + 4, x : x + 8] == (1, 2, 3))


# -- announcement -----------------------------------------------------------------------------


def test_the_record_points_at_the_class():
    info = next(iter(backbench_attacks.register_attacks()))
    assert (info.name, info.target) == ("patch", "backbench_attacks.patch:Patch")
    assert info.options is PatchOptions
    assert info.paper is not None
    for preset in info.presets.values():
        PatchOptions(target="bee", **preset)


def test_announcing_imports_nothing_heavy():
    code = (
        "import sys, backbench_attacks, backbench.data.builtin as p;"
        "list(p.register_datasets()); list(backbench_attacks.register_attacks());"
        "print({'torch', 'torchvision', 'PIL'} & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"
