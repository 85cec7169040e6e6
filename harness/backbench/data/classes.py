"""Sets of classes: the lists that ship with backbench, and the known variants of ImageNet-100."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final

from backbench.errors import DataError
from backbench.system import files

#: Names of the lists that ship with backbench.
NAMES: Final = ("imagenet100",)


@dataclass(frozen=True, slots=True)
class Variant:
    """A published choice of a hundred ImageNet classes, and its training and validation images."""

    name: str
    source: str
    images: tuple[int, int] | None = None


#: Choices that are all called ImageNet-100, by the fingerprint of their class ids.
VARIANTS: Final = {
    "d61d354b64beb3ce2c2c9cf04a874298362dc9fcd589e15ee34c5e4592145746": Variant(
        "imagenet100",
        "Tian et al. 2020 (CMC, imagenet100.txt); also Wang & Isola 2020, Saha et al. 2022, "
        "solo-learn (its issues 116 and 137), ImageNet100-B of CorruptEncoder",
        (126_689, 5_000),
    ),
    "e685f52fed1378fd4f7c3edbc80cf62403ad8fef69c03faef471d8a42c5289df": Variant(
        "imagenet100-first",
        "the first 100 ids in order: Douillard et al. 2020 (PODNet, imagenet_split/val_100.txt)",
    ),
    "82b5291afc035d04ed39f71647029c404ad9f5ec9589b3a83d6261abb5c00ba7": Variant(
        "imagenet100-kaggle", "Kaggle, ambityga/imagenet100 (Labels.json)"
    ),
    "fe8959b5f87ec66368fda940dcf709500cbf530debef6b263ed7befa161e91b2": Variant(
        "imagenet100-scan",
        "Van Gansbeke et al. 2020 (SCAN, data/imagenet_subsets/imagenet_100.txt); also Cao et al. "
        "2022 (ORCA)",
    ),
    "fce943fa2f5b5888cc86d3850a8466c0de2d45e7593b3637534ff1e6b73db6f9": Variant(
        "imagenet100-ucir",
        "drawn by NumPy with seed 1993: Hou et al. 2019 (UCIR, gen_imagenet_subset.py)",
    ),
    "1f0c1449dce588613abb55de591157d8721a4d47097f7cca32380b3e6038ea37": Variant(
        "imagenet100-gcd",
        "drawn by NumPy with seed 0: Vaze et al. 2022 (generalized category discovery, "
        "data/imagenet.py)",
    ),
    "03614d17127166823c69de1557967383bcf9fbabe3132f70540373919ecd5764": Variant(
        "imagenet100-mcm", "Ming et al. 2022 (MCM, data/ImageNet100/class_list.txt)"
    ),
    "6006d2761a44d337534284043c2ed738ffab01e296ae7bc7e59350286f22d43f": Variant(
        "imagenet100-npos", "Tao et al. 2023 (NPOS, its issue 4)"
    ),
    "126426db9ed384d66f7652950c22c2e43e78915f4a2e42d701bb9013041ce29a": Variant(
        "imagenet100-a", "Zhang et al. 2024 (CorruptEncoder, imagenet100_A.txt)"
    ),
}


def class_list(name: str) -> tuple[str, ...]:
    """Return a list that ships with backbench, in its published order.

    The order carries no meaning: a label is the rank among the *sorted* ids.

    Source: Saha et al. 2022, published code, ``imagenet100_classes.txt``.
    """
    if name not in NAMES:
        raise DataError(f"no class list is called {name!r} (there are: {', '.join(NAMES)})")
    file = resources.files(__package__).joinpath("class_lists", f"{name}.txt")
    return tuple(file.read_text(encoding="ascii").split())


def read_class_file(path: Path) -> tuple[str, ...]:
    """Read distinct class names, one a line, in their order; blank lines are passed over."""
    names = [line.strip() for line in read_text(path).split("\n") if line.strip()]
    repeated = sorted(name for name, count in Counter(names).items() if count > 1)
    if repeated:
        raise DataError(f"{path}: duplicate class names: {', '.join(repeated)}")
    if not names:
        raise DataError(f"{path}: there is no class name in it")
    return tuple(names)


def find_classes(name: str) -> tuple[str, ...]:
    """Return the classes of a shipped list, or of a file with a class a line."""
    if name in NAMES:
        return class_list(name)
    try:
        return read_class_file(Path(name))
    except DataError as error:
        raise DataError(
            f"{error} (class lists that ship with backbench: {', '.join(NAMES)})"
        ) from error


def fingerprint(classes: Iterable[str]) -> str:
    """Return the SHA-256 of the sorted ids, a line each, by which a set of classes is known."""
    return hashlib.sha256("\n".join(sorted(set(classes))).encode()).hexdigest()


def describe(classes: Sequence[str]) -> str:
    """Report which known set of classes this is, or how it differs from the nearest shipped set."""
    known = VARIANTS.get(fingerprint(classes))
    if known is not None:
        return f"{known.name}: {known.source}"
    here = set(classes)
    nearest = max(NAMES, key=lambda name: len(here.intersection(class_list(name))))
    there = set(class_list(nearest))
    if not here & there:
        return f"not a known ImageNet-100 variant; shares no class with {nearest}"
    lacks, others = there - here, here - there
    said = [f"it lacks {len(lacks)} of its {len(there)} classes ({_some(lacks)})"] if lacks else []
    said += [f"it has {len(others)} others ({_some(others)})"] if others else []
    return f"not a known ImageNet-100 variant; nearest is {nearest}: {', '.join(said)}"


def read_text(path: Path) -> str:
    """Read a list of images or classes, UTF-8, with or without a byte order mark."""
    try:
        text = files.read_text(path)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; it should hold a line an image or class") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as text: {files.read_failure(error)}") from error
    if "\0" in text:
        raise DataError(f"{path}: holds NUL characters, as UTF-16 does; save it as UTF-8")
    return text


def _some(names: set[str]) -> str:
    """Name a few."""
    shown = ", ".join(sorted(names)[:5])
    return f"{shown} …" if len(names) > 5 else shown
