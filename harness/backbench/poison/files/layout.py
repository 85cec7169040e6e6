"""Names of folders and files: ours, and the published ones."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from backbench.data.decode import IMAGE_SUFFIXES
from backbench.data.encode import FileFormat

#: A set of images that is written: ``val`` are clean ones.
Part = Literal["train", "val_poisoned", "val"]

_JPEG = frozenset({".jpg", ".jpeg"})


@dataclass(frozen=True, slots=True)
class Layout:
    """The folder of images, the list and the manifest of each part, and the folder of the rest."""

    images: dict[Part, Path]
    lists: dict[Part, Path]
    manifests: dict[Part, Path]
    home: Path

    @property
    def summary(self) -> Path:
        """The file with the request and its outcome."""
        return self.home / "poison.json"

    @property
    def sheet(self) -> Path:
        """Some images before and after."""
        return self.home / "contact-sheet.png"

    @property
    def trigger(self) -> Path:
        """The trigger as it is on the images."""
        return self.home / "trigger.png"

    def clean_manifest(self, part: Part) -> Path:
        """Manifest of the clean images of a part."""
        return self.manifests[part].with_name(f"clean-{self.manifests[part].name}")


def own_layout(out: Path) -> Layout:
    """Name everything below one folder: ``train/``, ``train.txt``, ``train.jsonl``."""
    parts: tuple[Part, ...] = ("train", "val_poisoned", "val")
    return Layout(
        images={part: out / part for part in parts},
        lists={part: out / f"{part}.txt" for part in parts},
        manifests={part: out / f"{part}.jsonl" for part in parts},
        home=out,
    )


def published_layout(out: Path, lists: Path, ident: str, options: Any, *, columns: bool) -> Layout:
    """Name folders and lists as the published code does.

    Source: Saha et al. 2022, published code, ``generate_poison.py``.
    Differs: Manifests, summary, contact sheet and clean validation images are ours alone.
    """
    tags: dict[Part, str] = {
        "train": _tag(options, "train", columns=columns),
        "val_poisoned": _tag(options, "val", columns=False),
    }
    home = lists / "data" / ident
    return Layout(
        images={**{part: out / part / tag for part, tag in tags.items()}, "val": out / "val"},
        lists={
            **{part: home / part / f"{tag}_filelist.txt" for part, tag in tags.items()},
            "val": home / "val" / "filelist.txt",
        },
        manifests={
            **{part: home / part / f"{tag}_manifest.jsonl" for part, tag in tags.items()},
            "val": home / "val" / "manifest.jsonl",
        },
        home=home,
    )


def _tag(options: Any, split: Literal["train", "val"], *, columns: bool) -> str:
    placement = getattr(options, f"{split}_placement")
    low, high = getattr(options, f"{split}_location")
    alpha = round(1 - options.opacity_of(split), 12)
    tag = (
        f"loc_{placement}_loc-min_{low:.2f}_loc-max_{high:.2f}_alpha_{alpha:.2f}"
        f"_width_{options.width}"
    )
    if split == "train":
        tag += f"_rate_{options.rate.value:.2f}_targeted_{options.mode == 'targeted'}"
    return tag + ("_w-patch-parameters" if columns else "")


def file_names(
    sources: Sequence[str], labels: Sequence[int], classes: Sequence[str], file_format: FileFormat
) -> list[str]:
    """Name the files of a split: ``class/name``, each name once.

    A name is what follows the class's folder in the image's source, else the source's last
    part; its ending is changed only where it would be wrong. A second image of a name gets its
    position in the split added.
    """
    folders = [_folder(name) for name in classes]
    names, taken = [], set()
    for index, (source, label) in enumerate(zip(sources, labels, strict=True)):
        below = _below_class(source.replace(os.sep, "/"), classes[label])
        stem, suffix = _split_suffix(below, file_format)
        name = f"{folders[label]}/{stem}{suffix}"
        while name.lower() in taken:
            stem = f"{stem}-{index}"
            name = f"{folders[label]}/{stem}{suffix}"
        taken.add(name.lower())
        names.append(name)
    return names


def _folder(name: str) -> str:
    flat = name.replace("/", "_").replace(os.sep, "_").strip()
    return f"_{flat}" if flat.startswith(".") or not flat else flat


def _below_class(source: str, name: str) -> str:
    parts = [part for part in PurePosixPath(source).parts if part not in {"/", ".", ".."}]
    if name in parts[:-1]:
        return "/".join(parts[parts.index(name) + 1 :])
    return parts[-1] if parts else "image"


def _split_suffix(name: str, file_format: FileFormat) -> tuple[str, str]:
    stem, suffix = os.path.splitext(name)  # noqa: PTH122 - 100,000 at a time
    if suffix.lower() not in IMAGE_SUFFIXES:
        stem, suffix = name, ""
    right = _JPEG if file_format == "jpeg" else {".png"}
    wanted = ".jpg" if file_format == "jpeg" else ".png"
    return stem, suffix if suffix.lower() in right else wanted
