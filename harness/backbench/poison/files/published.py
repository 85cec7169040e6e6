"""The published configuration files, read into the tables of a benchmark file."""

from __future__ import annotations

import configparser
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from backbench.errors import ConfigError, Problem, is_name
from backbench.plugin.registry import suggestion

SECTION: Final = "poison_generation"
PLACEMENTS: Final = ("center", "multiple", "random")
SPLITS: Final = ("train", "val_poisoned")
#: Quality of the JPEGs that the published code writes: Pillow's default.
QUALITY: Final = 75
#: Side of its validation images, px.
VAL_SIZE: Final = 224

#: References stand for each other: 90 of them, ten a line, make a text of a billion parts.
_MOST_REFERENCES: Final = 20

_SECTION = re.compile(rf"^\s*\[{SECTION}\]", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """The values of a published configuration file, under its names.

    Source: Saha et al. 2022, published code, ``poison-generation/cfg/*.cfg`` and
        ``generate_poison.py``.
    """

    id: str
    data_root: str
    text: bool
    fntsize: int
    trigger: str
    alpha_composite: bool
    train_location: str
    train_location_min: float
    train_location_max: float
    train_alpha: float
    watermark_width: int
    targeted: bool
    target_wnid: str
    poison_injection_rate: float
    val_location: str
    val_location_min: float
    val_location_max: float
    val_alpha: float
    poison_savedir: str
    logfile: str
    splits: tuple[str, ...]
    patch_params: bool
    notes: tuple[str, ...] = field(default=(), compare=False)


#: What is wrong with an id that :func:`is_component` refuses.
NOT_A_COMPONENT: Final = (
    "becomes part of a folder's name; it should be printable, without /, and not . or .."
)


def is_component(ident: str) -> bool:
    """Tell whether an id is one plain component of a path, so that nothing leaves the folder."""
    return is_name(ident) and "/" not in ident and os.sep not in ident


def is_published(text: str) -> bool:
    """Return whether a file is a published configuration, not a TOML file of ours."""
    return _SECTION.search(text) is not None


def read_published(text: str, source: str) -> Published:
    """Read a published configuration file; a ConfigError names all that cannot be used.

    Differs: The list of splits may hold spaces. A lone ``%`` stands for itself; there it ends in
        an exception.
    """
    reader = _Reader(_parsed(text, source))
    values: dict[str, Any] = {"id": reader.read("experiment", "ID", str)}
    kinds = {one.name: _KINDS[str(one.type)] for one in fields(Published)[1:-1]}
    for key, kind in kinds.items():
        values[key] = reader.read(SECTION, key, kind)
    for key in reader.keys(SECTION):
        if key not in kinds:
            reader.notes.append(f"{key}: no such key; ignored{suggestion(key, kinds)}")
    for key in ("train_location", "val_location"):
        if values[key] is not None and values[key] not in PLACEMENTS:
            hint = suggestion(values[key], PLACEMENTS)
            reader.problems.append(
                Problem(f"{SECTION}.{key}", f"no placement is called {values[key]!r}{hint}")
            )
    if values["id"] is not None and not is_component(values["id"]):
        reader.problems.append(Problem("experiment.ID", NOT_A_COMPONENT))
    values["splits"] = tuple(_splits(values["splits"] or (), reader))
    if reader.problems:
        raise ConfigError(source, reader.problems)
    values["poison_savedir"] = _with_id(values["poison_savedir"], values["id"])
    values["logfile"] = _with_id(values["logfile"], values["id"])
    return Published(**values, notes=tuple(reader.notes))


def _parsed(text: str, source: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    if text.count("%(") > _MOST_REFERENCES:
        message = f"it has more than {_MOST_REFERENCES} references %(…)s"
        raise ConfigError(source, [Problem("", message)])
    try:
        parser.read_string(text, source)
    except configparser.Error as error:
        message = " ".join(str(error).split())
        raise ConfigError(source, [Problem("", f"not a configuration file: {message}")]) from error
    if not parser.has_section(SECTION):
        message = "its line is indented, and so is part of the line above; remove the blanks"
        raise ConfigError(source, [Problem(f"[{SECTION}]", message)])
    return parser


def to_tables(published: Published, find: Callable[[str], Path | str]) -> dict[str, Any]:
    """Return our tables of the same meaning; ``find`` finds a file by its name.

    Source: Saha et al. 2022, published code: labels are ranks in ImageNet-100's list; validation
        images are resized to 256 px and cut to 224; what is written is JPEG of quality 75.
    """
    attack: dict[str, Any] = {
        "plugin": "patch",
        "mode": "targeted" if published.targeted else "untargeted",
    }
    if published.targeted:
        attack["target"] = published.target_wnid
    of = "target_class" if published.targeted else "dataset"
    attack["rate"] = {"of": of, "value": published.poison_injection_rate}
    if published.text:
        attack |= {"text": published.trigger, "text_size": published.fntsize}
    else:
        attack["trigger"] = str(find(published.trigger))
        attack["blend"] = "composite" if published.alpha_composite else "paste"
    attack |= {
        "width": published.watermark_width,
        "train_placement": published.train_location,
        "train_location": [published.train_location_min, published.train_location_max],
        "val_placement": published.val_location,
        "val_location": [published.val_location_min, published.val_location_max],
    }
    if not published.text:
        attack["opacity"] = _other(published.train_alpha)
        if published.val_alpha != published.train_alpha:
            attack["val_opacity"] = _other(published.val_alpha)
    attack["jpeg_quality"] = QUALITY
    return {
        "poison": {
            "id": published.id,
            "out": published.poison_savedir,
            "splits": list(published.splits),
            "patch_columns": published.patch_params,
        },
        "datasets": {
            "imagenet100": {
                "plugin": "image-folder",
                "root": str(find(published.data_root)),
                "classes": "imagenet100",
                "val_size": VAL_SIZE,
            }
        },
        "attacks": {"patch": attack},
    }


def notes_on(published: Published) -> list[str]:
    """Say what of a published configuration has no counterpart, or is done otherwise."""
    notes = [*published.notes, f"logfile: not written ({published.logfile})"]
    if published.target_wnid and not published.targeted:
        notes.append("target_wnid: not used, since targeted is false")
    if published.text:
        notes.append("alpha_composite: not used for a text")
        if (published.train_alpha, published.val_alpha) != (0.5, 0.5):
            notes.append(
                "train_alpha, val_alpha: the published code draws text at 128 of 255 whatever "
                "they say, and so do we; set opacity in TOML"
            )
        if published.fntsize != 30:
            notes.append(f"fntsize: {published.fntsize} here; the published code always has 30")
    elif not published.alpha_composite and (published.train_alpha or published.val_alpha):
        notes.append("train_alpha, val_alpha: hold here; the published code ignores them for paste")
    if published.text or not published.alpha_composite:
        for split in ("train", "val"):
            span = [getattr(published, f"{split}_location_{end}") for end in ("min", "max")]
            random = getattr(published, f"{split}_location") == "random"
            if random and split in str(published.splits) and span != [0.25, 0.75]:
                low, high = span
                notes.append(
                    f"{split}_location_min, {split}_location_max: {low:g} and {high:g} here; the "
                    "published code has 0.25 and 0.75 for text and paste"
                )
    return notes


class _Reader:
    """Reads values, and keeps what is wrong with them."""

    def __init__(self, parser: configparser.ConfigParser) -> None:
        self._parser = parser
        self.problems: list[Problem] = []
        self.notes: list[str] = []

    def keys(self, section: str) -> list[str]:
        return list(self._parser[section])

    def read(self, section: str, key: str, kind: Callable[[str], Any]) -> Any:
        path = f"{section}.{key}"
        try:
            value = self._parser.get(section, key)
        except (configparser.NoSectionError, configparser.NoOptionError):
            self.problems.append(Problem(path, "is missing"))
            return None
        except configparser.InterpolationError:
            value = self._parser.get(section, key, raw=True)
            self.notes.append(f"{key}: '%' is read literally; the published code needs '%%'")
        try:
            return kind(value)
        except ValueError:
            wanted = {int: "a whole number", float: "a number", _truth: "true or false"}[kind]
            self.problems.append(Problem(path, f"should be {wanted} (given: {value!r})"))
            return None


def _truth(value: str) -> bool:
    try:
        return configparser.ConfigParser.BOOLEAN_STATES[value.lower()]
    except KeyError:
        raise ValueError(value) from None


def _list(value: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split(",") if part.strip())


_KINDS: Final[dict[str, Callable[[str], Any]]] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": _truth,
    "tuple[str, ...]": _list,
}


def _splits(named: tuple[str, ...], reader: _Reader) -> list[str]:
    taken = []
    for one in dict.fromkeys(named):
        if one in SPLITS:
            taken.append(one)
        elif one == "val":
            reader.notes.append("splits: val is ignored, as in the published code")
        else:
            hint = suggestion(one, SPLITS)
            reader.problems.append(
                Problem(f"{SECTION}.splits", f"no split is called {one!r}{hint}")
            )
    if not taken and not reader.problems:
        reader.problems.append(Problem(f"{SECTION}.splits", "names no split"))
    return taken


def _with_id(path: str, ident: str) -> str:
    return path.replace("{}", ident).replace("{0}", ident)


def _other(share: float) -> float:
    """Turn the image's share into the trigger's."""
    return round(1 - share, 12)
