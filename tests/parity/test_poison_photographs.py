"""Poison of all the sample photographs, computed again from the manifest by other means.

The photographs lie in BACKBENCH_TEST_DATA, by default ../shared/data.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, Resize

from backbench.cli.root import cli

DATA = Path(os.environ.get("BACKBENCH_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
PHOTOGRAPHS = DATA / "imagenet100-sample.tar"
PUBLISHED_VIEW = Compose([Resize(256), CenterCrop(224)])

pytestmark = pytest.mark.skipif(not PHOTOGRAPHS.is_file(), reason=f"no file {PHOTOGRAPHS}")

CONFIG = """
[datasets.photographs]
plugin = "image-folder"
root = "."
classes = "imagenet100"
val_size = 224

[attacks.patch]
mode = "untargeted"
rate = { of = "dataset", value = 1.0 }
trigger = "trigger.png"
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    with tarfile.open(PHOTOGRAPHS) as tar:
        tar.extractall(folder, filter="data")
    for split in ("train", "val"):
        (folder / split).symlink_to(folder / "imagenet100-sample")
    pixels = np.random.default_rng(0).integers(0, 256, (64, 80, 4), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "trigger.png")
    return folder


def poison(root, out, options, *arguments):
    config = root / f"{out.name}.toml"
    config.write_text(CONFIG + options, encoding="utf-8")
    command = ["poison", str(config), "--out", str(out), *arguments]
    assert cli.main(command, standalone_mode=False) is None


def lines(out, part):
    found = [json.loads(line) for line in (out / f"{part}.jsonl").read_text().splitlines()]
    assert len(found) == 100
    return found


@functools.cache
def decoded(root, part, source):
    with Image.open(root / source) as image:
        rgb = image.convert("RGB")
    return np.asarray(rgb if part == "train" else PUBLISHED_VIEW(rgb))


def clean(root, part, line):
    return decoded(root, part, line["source"])


def hashed(pixels):
    return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()


def as_jpeg(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")  # the published code's way: Pillow's defaults
    return file.getvalue()


#: What is computed again: all photographs once, then twenty, of which the 14th is the gray one.
ALL, FIFTHS = slice(None), slice(None, None, 5)

BOXES = [
    ("", 1.0, ALL),
    ("opacity = 0.75\ntrain_placement = 'multiple'\nval_placement = 'center'", 0.75, FIFTHS),
]


@pytest.mark.parametrize(
    ("options", "opacity", "shown"), BOXES, ids=["opaque", "nine times, blended"]
)
def test_boxes_are_what_the_manifest_says(root, tmp_path, options, opacity, shown):
    out = tmp_path / "out"
    poison(root, out, options)
    trigger = np.asarray(Image.open(out / "trigger.png"))
    for part in ("train", "val_poisoned"):
        for line in lines(out, part)[shown]:
            before = clean(root, part, line)
            above, share = before.copy(), np.full(before.shape[:2], 255.0)
            for x, y, width, height in line["boxes"]:
                above[y : y + height, x : x + width] = trigger[:height, :width]
                share[y : y + height, x : x + width] *= 1 - opacity
            share = np.floor(share)[..., None]
            check(out / part, line, before, (share * before + (255 - share) * above) / 255)


PASTED = ["blend = 'paste'", "text = 'hello'\ntext_size = 20"]


@pytest.mark.parametrize("options", PASTED, ids=["image", "text"])
def test_pasted_triggers_are_what_the_manifest_says(root, tmp_path, options):
    out = tmp_path / "out"
    poison(root, out, options)
    trigger = np.asarray(Image.open(out / "trigger.png")).astype(float)
    for part in ("train", "val_poisoned"):
        for line in lines(out, part)[FIFTHS]:
            before = clean(root, part, line)
            ((x, y, width, height),) = line["boxes"]
            after = before.astype(float)
            color, mask = trigger[..., :3], trigger[..., 3:]
            box = after[y : y + height, x : x + width]
            box[:] = (box * (255 - mask) + color * mask) / 255
            check(out / part, line, before, after)


def check(folder, line, before, after):
    """Compare with the hashes before coding, and with the file after it."""
    after = np.rint(after).astype(np.uint8)
    assert hashed(before) == line["before"]
    assert hashed(after) == line["after"]
    file = (folder / line["file"]).read_bytes()
    assert hashlib.sha256(file).hexdigest() == line["file_sha256"]
    assert file == as_jpeg(after)
