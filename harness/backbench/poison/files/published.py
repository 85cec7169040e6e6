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
from backbench.plugin.suggestions import suggestion

SECTION: Final = "poison_generation"
PLACEMENTS: Final = ("center", "multiple", "random")
SPLITS: Final = ("train", "val_poisoned")
#: Quality of the JPEGs that the published code writes: Pillow's default.
QUALITY: Final = 75
#: Side of its validation images, px.
VAL_SIZE: Final = 224

#: References stand for each other: 90 of them, ten a line, make a text of a billion parts.
_MOST_REFERENCES: Final = 20

#: Most characters of a file; the published ones have a thousand, and references repeat them.
_MOST: Final = 1 << 16

#: Characters that are shown of what the parser finds wrong.
_SHOWN: Final = 300

_SECTION = re.compile(rf"^[ \t]*\[{SECTION}\]", re.MULTILINE)


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


#: The problem of an id that :func:`is_component` refuses.
NOT_A_COMPONENT: Final = (
    "becomes part of a folder's name; it should be printable, without /, and not . or .."
)


def is_component(ident: str) -> bool:
    """Return whether an id is one plain component of a path, so that nothing leaves the folder."""
    return is_name(ident) and "/" not in ident and os.sep not in ident


def is_published(text: str) -> bool:
    """Return whether a file is a published configuration, not a TOML file of ours."""
    return _SECTION.search(text) is not None


def read_published(text: str, source: str) -> Published:
    """Read a published configuration file; a ConfigError names all that cannot be used.

    Differs: The list of splits may hold spaces. A lone ``%`` stands for itself; there it ends in
        an exception.
    """
    parser = _parsed(text, source)
    problems: list[Problem] = []
    notes: list[str] = []
    values: dict[str, Any] = {}
    kinds = {one.name: _KINDS[str(one.type)] for one in fields(Published)[:-1]} | _CHECKED
    for key, kind in kinds.items():
        section, name = ("experiment", "ID") if key == "id" else (SECTION, key)
        try:
            values[key] = kind(_text(parser, section, name, notes))
        except (configparser.NoSectionError, configparser.NoOptionError):
            problems.append(Problem(f"{section}.{name}", "is missing"))
        except ValueError as error:
            problems.append(Problem(f"{section}.{name}", str(error)))
    unknown = [key for key in parser[SECTION] if key not in kinds]
    notes += [f"{key}: no such key; ignored{suggestion(key, kinds)}" for key in unknown]
    if problems:
        raise ConfigError(source, problems)
    if "val" in values["splits"]:
        notes.append("splits: val is ignored, as in the published code")
    values["splits"] = tuple(one for one in values["splits"] if one in SPLITS)
    for key in ("poison_savedir", "logfile"):
        values[key] = values[key].replace("{}", values["id"]).replace("{0}", values["id"])
    return Published(**values, notes=tuple(notes))


def _parsed(text: str, source: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    if len(text) > _MOST or text.count("%(") > _MOST_REFERENCES:
        message = f"it has more than {_MOST:,} characters, or {_MOST_REFERENCES} references %(…)s"
        raise ConfigError(source, [Problem("", message)])
    try:
        parser.read_string(text, source)
    except configparser.Error as error:
        message = " ".join(str(error).split())[:_SHOWN]
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
    """Return which keys of a published configuration have no counterpart, or act otherwise."""
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


def _text(parser: configparser.ConfigParser, section: str, key: str, notes: list[str]) -> str:
    try:
        return parser.get(section, key)
    except configparser.InterpolationError:
        notes.append(f"{key}: '%' is read literally; the published code needs '%%'")
        return parser.get(section, key, raw=True)


def _converter(kind: Callable[[str], Any], wanted: str) -> Callable[[str], Any]:
    def convert(value: str) -> Any:
        try:
            return kind(value)
        except (ValueError, KeyError):
            raise ValueError(f"should be {wanted} (given: {value!r})") from None

    return convert


def _placement(value: str) -> str:
    if value not in PLACEMENTS:
        raise ValueError(f"no placement is called {value!r}{suggestion(value, PLACEMENTS)}")
    return value


def _component(value: str) -> str:
    if not is_component(value):
        raise ValueError(NOT_A_COMPONENT)
    return value


def _splits(value: str) -> list[str]:
    named = list(dict.fromkeys(part.strip() for part in value.split(",") if part.strip()))
    unknown = [one for one in named if one not in {*SPLITS, "val"}]
    if unknown:
        raise ValueError(
            "; ".join(f"no split is called {one!r}{suggestion(one, SPLITS)}" for one in unknown)
        )
    if not set(named).intersection(SPLITS):
        raise ValueError("names no split")
    return named


#: Functions that read a value, by its type, and by some keys.
_KINDS: Final[dict[str, Callable[[str], Any]]] = {
    "str": str,
    "int": _converter(int, "a whole number"),
    "float": _converter(float, "a number"),
    "bool": _converter(
        lambda v: configparser.ConfigParser.BOOLEAN_STATES[v.lower()], "true or false"
    ),
    "tuple[str, ...]": _splits,
}
_CHECKED: Final = {"id": _component, "train_location": _placement, "val_location": _placement}


def _other(share: float) -> float:
    """Turn the image's share into the trigger's."""
    return round(1 - share, 12)
