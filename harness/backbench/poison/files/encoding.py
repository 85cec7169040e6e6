"""One image: read it, stamp it, code it, write it, describe it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from backbench.data.decode import read_image
from backbench.data.encode import FileFormat, encode
from backbench.data.preprocess import Square
from backbench.images import Pixels
from backbench.plugin import Attack, Split
from backbench.poison.poisoning import ImageRef, pixel_hash, recode, shallow, stamp_image
from backbench.system import files
from backbench.system.json_text import to_json


@dataclass(frozen=True, slots=True)
class Job:
    """An image to write: its file, or its pixels where it has none, and where it is written.

    A ``square`` is made of it first. Its ``name`` is that of the manifest; ``sha256`` that of the
    file which is there if all is well, or "".
    """

    who: ImageRef
    split: Split
    image: str | Pixels
    square: Square | None
    stamped: bool
    path: str
    name: str
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Coding:
    """Encoding of images; ``alike``: clean images go through the attack's JPEG too."""

    attack: Attack
    seed: int
    file_format: FileFormat
    quality: int
    alike: bool


def make(coding: Coding, job: Job) -> str:
    """Write an image unless the right file is there; return its line of the manifest, or ""."""
    if job.sha256 and _hash_of(job.path) == job.sha256:
        return ""
    given = job.image
    image = read_image(given, job.square) if isinstance(given, str) else given
    clean = pixels = np.asarray(image)
    mark = None
    if job.stamped:
        pixels, mark, rows = stamp_image(coding.attack, clean, job.who, job.split, coding.seed)
        image = recoded(image, pixels, rows)
    if coding.file_format == "png" and (job.stamped or coding.alike):
        image = recode(coding.attack, pixels)
    content = encode(image, coding.file_format, coding.quality)
    files.write(Path(job.path), content, durable=False)
    more = {"file": job.name, "file_sha256": hashlib.sha256(content).hexdigest()}
    if mark is not None:
        return mark.line(**more)
    return to_json({**shallow(job.who), "before": pixel_hash(clean), **more}) + "\n"


def recoded(image: Image.Image | Pixels, pixels: Pixels, rows: slice) -> Image.Image | Pixels:
    """Return the changed image; of one of Pillow, only the rows that differ are converted."""
    if not isinstance(image, Image.Image):
        return pixels
    if rows.stop > rows.start:
        changed = Image.fromarray(np.ascontiguousarray(pixels[rows]))
        image.paste(changed, (0, rows.start))
    return image


def _hash_of(path: str) -> str:
    try:
        return files.sha256(path)
    except OSError:
        return ""
