"""One image: read it, stamp it, code it, write it, describe it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from backbench.data.decode import read_image
from backbench.data.encode import FileFormat, encode
from backbench.data.preprocess import Square
from backbench.images import Pixels
from backbench.plugin import Attack, Split
from backbench.plugin.calling import plugin_code
from backbench.poison.files.sources import PartFile
from backbench.poison.manifest import pixel_hash, shallow
from backbench.poison.poisoning import ImageRef, compose_parts, recode, stamp_image
from backbench.system import files
from backbench.system.json_text import to_json

#: An image to encode, its pixels, and what makes its line of the manifest.
_Made = tuple[Image.Image | Pixels, Pixels, Callable[..., str]]


@dataclass(frozen=True, slots=True)
class Job:
    """An image to write: its file, or its pixels where it has none, and where it is written.

    A ``square`` is made of it first. A poison that is composed has ``parts``, and no image if it is
    added. Its ``name`` is that of the manifest; ``sha256`` that of the file which is there if all
    is well, or "".
    """

    who: ImageRef
    split: Split
    image: str | Pixels | None
    square: Square | None
    stamped: bool
    path: str
    name: str
    parts: tuple[PartFile, ...] = ()
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
    image, pixels, line = (_composed if job.parts else _in_place)(coding, job)
    if coding.file_format == "png" and (job.stamped or coding.alike):
        image = recode(coding.attack, pixels)
    content = encode(image, coding.file_format, coding.quality)
    files.write(Path(job.path), content, durable=False)
    return line(file=job.name, file_sha256=hashlib.sha256(content).hexdigest())


def _in_place(coding: Coding, job: Job) -> _Made:
    """Return an image that is stamped in its place, or left as it is."""
    image = _read(job)
    clean = np.asarray(image)
    if not job.stamped:
        return image, clean, partial(_clean_line, job.who, clean)
    pixels, mark, rows = stamp_image(coding.attack, clean, job.who, job.split, coding.seed)
    return recoded(image, pixels, rows), pixels, mark.line


def _composed(coding: Coding, job: Job) -> _Made:
    """Return a poison that is made of its parts."""
    before = None if job.image is None else np.asarray(_read(job))
    parts = [part.opened() for part in job.parts]
    with plugin_code(f"{job.who.source}: compose"):
        pixels, mark = compose_parts(coding.attack, parts, before, job.who, coding.seed)
    return pixels, pixels, mark.line


def _read(job: Job) -> Image.Image | Pixels:
    if isinstance(job.image, str):
        return read_image(job.image, job.square)
    return np.asarray(job.image)


def _clean_line(who: ImageRef, clean: Pixels, **more: str) -> str:
    return to_json({**shallow(who), "before": pixel_hash(clean), **more}) + "\n"


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
