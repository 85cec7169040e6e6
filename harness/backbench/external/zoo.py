"""A zoo: a folder of encoders, clean and backdoored, each with a card, and a hash of every file.

::

    zoo.json             format, benchmark; size and SHA-256 of every other file
    README.md            a table of the encoders, for people
    benchmark.toml       the benchmark file that they are of
    NAME/card.json       what was done to the encoder, its control, its numbers, its recipe
    NAME/CARD.md         the same for people
    NAME/encoder…        the encoder, as a stage writes it

Reading a zoo needs no torch, and runs nothing of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from backbench.errors import NOT_A_NAME, UsageError, is_name
from backbench.model import NONE, Origin, StageKind
from backbench.system import files
from backbench.system.json_text import from_json

#: Version of the layout of a zoo and of its cards.
FORMAT: Final = 1

MANIFEST, README, BENCHMARK = "zoo.json", "README.md", "benchmark.toml"
CARD, PAGE = "card.json", "CARD.md"

#: Most encoders of a zoo; most bytes of its manifest, and of a card.
MOST_ENCODERS: Final = 10_000
MOST_BYTES: Final = 1 << 24


def _checked(name: str) -> str:
    if not is_name(name) or "/" in name or "\\" in name:
        raise ValueError(f"{name[:80]!a}: {NOT_A_NAME}")
    return name


Name = Annotated[str, AfterValidator(_checked)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True)


_Model = TypeVar("_Model", bound=_Strict)


class Kind(StrEnum):
    """The kinds of encoders of a zoo."""

    CLEAN = "clean"
    POISONED = "poisoned"
    IMPLANTED = "implanted"


class Numbers(_Strict):
    """Metrics of an encoder in one evaluation, and those of its control.

    Args:
        dataset: The dataset on which it was evaluated.
        evaluator: The evaluator, with its variant: ``knn:k=1``.
        trigger: The attack whose trigger was shown; ``none`` without.
        metrics: Fractions and counts by the metric's name.
        control: The same of the control under the same trigger; empty without one.
    """

    dataset: Name
    evaluator: Name
    trigger: Name
    metrics: dict[str, float]
    control: dict[str, float] = Field(default_factory=dict)


class Step(_Strict):
    """A stage that led to an encoder: everything that its key is of, and its metadata."""

    key: str
    kind: StageKind
    label: str
    plugin: dict[str, Any] | None
    backbone: dict[str, Any] | None = None
    seed: int | None
    content: str = ""
    metadata: dict[str, Any]


class Card(_Strict):
    """The card of an encoder.

    Args:
        name: Its name, that of its folder.
        kind: Whether it is clean, or how the backdoor came into it.
        summary: What was done to it, as a sentence.
        backdoored: The mark of its file: the attack whose backdoor it has; empty if it is clean.
        dataset: Dataset of its pretraining, by its name in the benchmark file; so are ``method``
            and ``attack``.
        downstream: Dataset whose images the attacker knew, if it is another; else ``none``.
        seed: Seed of its training.
        control: Name of the clean encoder that it is compared with: of a poisoned one, trained
            alike on clean data; of an implanted one, that which it started from.
        weights: Name of the file of weights, and ``sha256`` of it.
        image_size: Side in pixels at which it sees images; ``feature_dim`` its number of features.
        numbers: What its evaluations gave.
        recipe: The stages that led to it, each after those that it reads.
    """

    format: Literal[1]
    name: Name
    kind: Kind
    summary: str
    backdoored: str
    dataset: Name
    downstream: Name = NONE
    method: Name
    attack: Name
    seed: int
    control: Name | None
    weights: Name
    sha256: Digest
    image_size: int
    feature_dim: int
    numbers: tuple[Numbers, ...]
    recipe: tuple[Step, ...]

    @property
    def origin(self) -> Origin:
        """The cell that made the encoder."""
        return Origin(self.name, self.method, self.attack, self.seed)

    def problems(self) -> Iterator[str]:
        """Yield what contradicts itself on the card, a sentence each."""
        is_clean = self.kind is Kind.CLEAN
        if is_clean != (self.attack == NONE):
            yield f"it is {self.kind}, and its attack is {self.attack!r}"
        if is_clean != (not self.backdoored):
            yield f"it is {self.kind}, and its mark is {self.backdoored!r}"
        if is_clean != (self.control is None):
            yield f"it is {self.kind}, and its control is {self.control!r}"

    def attack_use(self) -> Mapping[str, Any] | None:
        """Return the plugin of the attack as its stage's key has it; ``None`` of a clean one."""
        wanted = StageKind.IMPLANT if self.kind is Kind.IMPLANTED else StageKind.POISON
        uses = [step.plugin for step in self.recipe if step.kind is wanted]
        return uses[-1] if uses and self.kind is not Kind.CLEAN else None


class File(_Strict):
    """Size and SHA-256 of a file."""

    bytes: int = Field(ge=0)
    sha256: Digest


class Manifest(_Strict):
    """The manifest of a zoo: ``files`` by their paths in it."""

    format: Literal[1]
    benchmark: Name
    changes: tuple[str, ...] = ()
    files: dict[str, File]


@dataclass(frozen=True)
class Zoo:
    """An opened zoo.

    Args:
        folder: Its folder.
        manifest: Its manifest.
        cards: The cards by the encoders' names, sorted; their hashes are those of the manifest.
    """

    folder: Path
    manifest: Manifest
    cards: Mapping[str, Card]

    @cached_property
    def summary(self) -> str:
        """Numbers of its encoders, as a line."""
        kinds = [card.kind for card in self.cards.values()]
        counts = ", ".join(f"{kinds.count(one)} {one}" for one in Kind)
        return f"{len(kinds)} encoders of benchmark {self.manifest.benchmark!r}: {counts}"


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a zoo.

    Raises:
        UsageError: If there is none, or it is none.
    """
    path = folder / MANIFEST
    try:
        content = files.read_regular(path, MOST_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(
            f"{folder}: not a zoo, there is no {MANIFEST}: `backbench zoo build` makes one"
        ) from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({files.read_failure(error)})") from error
    manifest = _parsed(Manifest, content, str(path))
    if (count := len(names_in(manifest))) > MOST_ENCODERS:
        raise UsageError(f"{path}: {count:,} encoders, and {MOST_ENCODERS:,} at most are read")
    for name in manifest.files:
        parts = name.split("/")
        if len(parts) > 2 or "\\" in name or not all(map(is_name, parts)) or name == MANIFEST:
            raise UsageError(f"{path}: {name[:80]!a} is no path of a file of a zoo")
    return manifest


def names_in(manifest: Manifest) -> list[str]:
    """Return the names of a zoo's encoders, sorted: those of its folders."""
    return sorted({name.partition("/")[0] for name in manifest.files if "/" in name})


def read_card(folder: Path, name: str, said: File | None) -> Card:
    """Read the card of an encoder.

    Args:
        folder: The zoo's folder.
        name: The encoder.
        said: What the manifest states of the card; ``None`` if it has none.

    Raises:
        UsageError: If the card is missing, or not that of the manifest, or contradicts itself.
    """
    path = folder / name / CARD
    try:
        content = files.read_regular(path, MOST_BYTES)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({files.read_failure(error)})") from error
    if said is None or hashlib.sha256(content).hexdigest() != said.sha256:
        raise UsageError(f"{path}: is not the card whose hash {MANIFEST} states")
    card = _parsed(Card, content, str(path))
    if card.name != name:
        raise UsageError(f"{path}: is the card of {card.name!r}")
    if (problem := next(card.problems(), None)) is not None:
        raise UsageError(f"{path}: {problem}")
    return card


def read_zoo(folder: Path) -> Zoo:
    """Open a zoo: its manifest and all cards; the files of weights are read when they are used.

    Raises:
        UsageError: If it is none, or a card is missing, damaged, or names no clean encoder of the
            zoo as its control.
    """
    manifest = read_manifest(folder)
    cards = {
        name: read_card(folder, name, manifest.files.get(f"{name}/{CARD}"))
        for name in names_in(manifest)
    }
    for card in cards.values():
        if (problem := control_problem(card, cards)) is not None:
            raise UsageError(f"{folder / card.name / CARD}: {problem}")
    return Zoo(folder, manifest, cards)


def control_problem(card: Card, cards: Mapping[str, Card]) -> str | None:
    """Return why an encoder's control cannot be its control; ``None`` if it can."""
    if card.control is None:
        return None
    control = cards.get(card.control)
    if control is None:
        return f"its control {card.control!r} is not in the zoo"
    if control.kind is not Kind.CLEAN:
        return f"its control {card.control!r} is {control.kind}, not clean"
    return None


def _parsed(model: type[_Model], content: bytes, where: str) -> _Model:
    try:
        values = from_json(content)
        stated = values.get("format") if isinstance(values, dict) else None
        if isinstance(stated, int) and stated != FORMAT:
            raise UsageError(f"{where}: of format {stated}, and this backbench reads {FORMAT}")
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        at = ".".join(map(str, first["loc"])) or "the whole"
        raise UsageError(f"{where}: {at}: {first['msg']}") from None
    except ValueError as error:
        raise UsageError(f"{where}: is not JSON: {error}") from error
