"""What readers are given before it is changed: a small store with its bundle, images, weights."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from backbench.data.classes import class_list
from tests.crash import world

#: A published configuration file; ``{}`` is an identifier that it puts into names.
INI: Final = """\
[experiment]
ID=HTBA_trigger_10_targeted_n02106550

[poison_generation]
data_root=../imagenet
text=false
fntsize=30
trigger=trigger.png
alpha_composite=true
train_location=random
train_location_min=0.25
train_location_max=0.75
train_alpha=0.00
watermark_width=5
targeted=true
target_wnid=n02106550
poison_injection_rate=1.0
val_location=random
val_location_min=0.10
val_location_max=0.90
val_alpha=0.00
poison_savedir=saved/{}
logfile=logs/{}/patched_generation.log
splits=train,val_poisoned
patch_params=false
"""

#: Two lists of images, and a file that poisons the dataset of photos.
LISTS: Final = """
[datasets.listed]
plugin = "file-list"
train = "train.txt"
val = "val.txt"

[methods.rotnet]
batch_size = 4

[evaluators.knn]
k = 2

[[matrix]]
datasets = "listed"
methods = "rotnet"
evaluators = "knn"
"""
#: A matrix over a zoo.
ZOO: Final = """
[encoders]
zoo = "zoo"

[datasets.drawn]
plugin = "embedded"
classes = 3
train_per_class = 8
val_per_class = 3

[evaluators.knn]
k = 2

[[matrix]]
datasets = "drawn"
methods = "zoo"
evaluators = "knn"
"""
POISON: Final = """
[datasets.photos]
plugin = "image-folder"
root = "photos"
val_size = 16

[attacks.patch]
target = "TARGET"
rate = { of = "count", value = 1 }
width = 4
"""


def make(folder: Path, run: Any) -> None:
    """Fill a folder, and one of ImageNet-100 beside it; ``run`` runs a command in it."""
    world.make(folder)
    for name in class_list("imagenet100"):
        for split in ("train", "val"):
            image = folder.parent / "imagenet" / split / name / f"{name}_1.JPEG"
            image.parent.mkdir(parents=True)
            Image.new("RGB", (24, 20)).save(image)
    target = min(path.name for path in (folder / "photos" / "train").iterdir())
    run("run", "--profile", "poisoned", "--executor", "serial")
    run("export", "--profile", "poisoned", "--out", "bundle.zip")
    run("zoo", "build", "--profile", "poisoned", "--out", "zoo")
    (folder / "zoo.toml").write_text(ZOO, encoding="utf-8")
    (folder / "published.cfg").write_text(INI, encoding="utf-8")
    (folder / "lists.toml").write_text(LISTS, encoding="utf-8")
    (folder / "poison.toml").write_text(POISON.replace("TARGET", target), encoding="utf-8")
    Image.new("RGBA", (8, 8), (255, 0, 0, 255)).save(folder / "trigger.png")
    for split in ("train", "val"):
        paths = sorted((folder / "photos" / split).glob("*/*.png"))
        labels = {name: index for index, name in enumerate(sorted({p.parent.name for p in paths}))}
        lines = [f"{path.relative_to(folder)} {labels[path.parent.name]}\n" for path in paths]
        (folder / f"{split}.txt").write_text("".join(lines), encoding="utf-8")
    weights(folder)


def images() -> Iterator[tuple[str, bytes]]:
    """Yield images of every format that is read, several kinds of each."""
    pixels = np.random.default_rng(0).integers(0, 256, (18, 20, 3), np.uint8)
    plain = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112] = 6
    kinds: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("RGB", "png", {}),
        ("P", "png", {"transparency": 3}),
        ("I;16", "png", {}),
        ("RGB", "jpeg", {"exif": exif, "progressive": True}),
        ("CMYK", "jpeg", {"icc_profile": b"\0" * 200}),
        ("L", "bmp", {}),
        ("P", "gif", {"save_all": True, "append_images": [plain.convert("P")] * 2}),
        ("RGB", "tiff", {"compression": "tiff_lzw"}),
        ("RGBA", "webp", {"lossless": True}),
        ("RGB", "ppm", {}),
    )
    for mode, kind, options in kinds:
        made = io.BytesIO()
        plain.convert("I" if mode == "I;16" else mode).convert(mode).save(made, kind, **options)
        yield f"x.{kind.replace('jpeg', 'jpg')}", made.getvalue()


def weights(folder: Path) -> None:
    """Save the encoder of the store as strangers do: ours, safetensors, two kinds of pickles."""
    import torch
    from safetensors.torch import load_file, save_file

    (own,) = sorted((folder / "store" / "artifacts").glob("*/encoder.json"))[:1]
    shutil.copytree(own.parent, folder / "encoder")
    state = load_file(folder / "encoder" / "encoder.safetensors")
    state = {name.removeprefix("backbone.body."): tensor for name, tensor in state.items()}
    save_file(state, folder / "weights.safetensors", {"format": "pt"})
    torch.save({"state_dict": state, "epoch": 3}, folder / "weights.pth")
    torch.save(state, folder / "weights.pt", _use_new_zipfile_serialization=False)


def copy(source: Path, target: Path) -> None:
    """Make a folder of the same content."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, symlinks=True)
