"""Images for the parts, made from the small datasets that tests use too."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

#: Rottweiler, the target class of the published configuration with trigger 10.
TARGET = "n02106550"


def photographs(archive: Path) -> dict[str, Image.Image]:
    """Read one photograph of each class of ImageNet-100.

    Args:
        archive: ``imagenet100-sample.tar``.

    Returns:
        By class, RGB, at their own size.
    """
    found = {}
    with tarfile.open(archive) as members:
        for member in members:
            if member.isfile():
                file = members.extractfile(member)
                assert file is not None
                wnid = Path(member.name).parent.name
                found[wnid] = Image.open(io.BytesIO(file.read())).convert("RGB")
    return found


def imagenet100(archive: Path, folder: Path, poisons: int, val: int) -> Path:
    """Lay out photographs as ImageNet-100, so that both poison generators read them.

    Every file differs from every other: its photograph is made a little lighter or darker.

    Args:
        archive: ``imagenet100-sample.tar``.
        folder: Where to; left alone if it is there.
        poisons: Files of the target class; the other classes have one each.
        val: Validation files of each class.

    Returns:
        ``folder``: ``train/<class>/<class>_<n>.JPEG`` and ``val/…``, JPEG of quality 90, as
        they come (a median of 500 x 375).
    """
    if folder.is_dir():
        return folder
    images = photographs(archive)
    partial = folder.with_name(f"{folder.name}.partial")
    classes = sorted(images)
    for wnid in classes:
        _write(partial / "train" / wnid, wnid, [(images[wnid], 0)])
        _write(partial / "val" / wnid, wnid, [(images[wnid], n - val // 2) for n in range(val)])
    several = [(images[classes[n % 100]], n // 100 - poisons // 200) for n in range(poisons)]
    _write(partial / "train" / TARGET, TARGET, several)
    partial.rename(folder)
    return folder


def _write(folder: Path, wnid: str, images: list[tuple[Image.Image, int]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, (image, lighter) in enumerate(images):
        pixels = np.asarray(image).astype(np.int16) + lighter
        changed = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
        changed.save(folder / f"{wnid}_{number:05d}.JPEG", quality=90)
