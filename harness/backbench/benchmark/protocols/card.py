"""Protocol cards: their content, and the list of them."""

from __future__ import annotations

import functools
import hashlib
import tomllib
from importlib import resources
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from backbench.data.classes import class_list
from backbench.errors import UsageError
from backbench.model import Denominator
from backbench.plugin.suggestions import suggestion
from backbench.system.json_text import to_json

#: Name of the entry of a card that holds for every plugin whose options have the names in it.
EVERY = "*"

_ID = r"^[a-z0-9]+(-[a-z0-9]+)*@[1-9][0-9]*$"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class Rules(_Part):
    """Meanings of words. A value without alternatives is what this version of backbench does."""

    asr_denominator: Denominator = Field(
        description="images that the attack success rate is a share of: those not of the "
        "target class, or all"
    )
    encoder: Literal["trained"] = Field(
        description="which of a method's networks is evaluated: the one that gradients train (the "
        "query or online network), never its average"
    )
    selection: Literal["last-epoch"] = Field(
        description="which epoch is evaluated: the last, chosen by no accuracy"
    )
    rate: Literal["typed"] = Field(
        description="poison rates: each says what it is a share of, or that it is a count"
    )


class Images(_Part):
    """The images that encoders are evaluated on."""

    classes: str | tuple[str, ...] = Field(
        description="name of a class list that comes with backbench, or the names themselves"
    )
    classes_sha256: str = Field(
        pattern="^[0-9a-f]{64}$", description="SHA-256 of the sorted names, joined by newlines"
    )
    val: int = Field(ge=1, description="number of validation images")
    train: int | None = Field(None, ge=1, description="number of training images, if fixed")
    resize: int | None = Field(
        None, ge=1, description="short side of a validation image after resizing, px"
    )
    crop: int = Field(ge=1, description="side of its center that is kept, px; all where resize is")
    side: int | None = Field(
        None, ge=1, description="side of training and validation images as they are, px"
    )


class Fixed(_Part):
    """The options of a plugin that a card fixes."""

    options: dict[str, Any] = Field(default_factory=dict, description="values, by option")
    unset: tuple[str, ...] = Field(
        (), description="options that must be left out; 'views.size' is one of a table"
    )


class EvaluatorCard(_Part):
    """An evaluator that a card allows, with all its options."""

    plugin: str = Field(description="the plugin that does it")
    methods: tuple[str, ...] = Field(
        (), description="plugins whose encoders it is for; empty: all methods"
    )
    options: dict[str, Any] = Field(default_factory=dict, description="its options")


class Protocol(_Part):
    """A protocol card.

    Args:
        id: ``name@version``. A card that has been used is never changed: it gets a new version.
    """

    id: str = Field(pattern=_ID, description="name and version")
    summary: str = Field(description="one sentence")
    source: str = Field(description="where its numbers come from")
    rules: Rules = Field(description="what words mean")
    images: Images = Field(description="what encoders are evaluated on")
    datasets: dict[str, Fixed] = Field(default_factory=dict, description="by plugin")
    attacks: dict[str, Fixed] = Field(default_factory=dict, description="by plugin")
    methods: dict[str, Fixed] = Field(default_factory=dict, description="by plugin")
    evaluators: dict[str, EvaluatorCard] = Field(
        min_length=1, description="by the name that the matrix uses"
    )

    @property
    def sha256(self) -> str:
        """Hash of what the card fixes, as it is written; summary and source do not count."""
        said = self.model_dump(mode="json", exclude_unset=True, exclude={"id", "summary", "source"})
        return hashlib.sha256(to_json(said, sort_keys=True).encode()).hexdigest()

    def stamp(self, evaluator: str) -> dict[str, str]:
        """Return the entry on the card for the record of an evaluation."""
        return {"id": self.id, "sha256": self.sha256, "evaluator": evaluator}

    def class_names(self) -> tuple[str, ...]:
        """Return the classes, sorted."""
        classes = self.images.classes
        return tuple(sorted(class_list(classes) if isinstance(classes, str) else classes))


@functools.cache
def _cards() -> dict[str, str]:
    """Return the text of every card, by id."""
    folder = resources.files(__package__).joinpath("cards")
    return {
        file.name.removesuffix(".toml"): file.read_text(encoding="utf-8")
        for file in sorted(folder.iterdir(), key=lambda file: file.name)
        if file.name.endswith(".toml")
    }


def protocol_ids() -> list[str]:
    """Return the ids of all cards, sorted."""
    return list(_cards())


def find_protocol(protocol_id: str) -> Protocol:
    """Return a card; of an unknown id, raise a UsageError with the nearest id."""
    text = _cards().get(protocol_id)
    if text is None:
        raise UsageError(
            f"no protocol is called {protocol_id!r}{suggestion(protocol_id, protocol_ids())}"
        )
    return Protocol.model_validate({"id": protocol_id, **tomllib.loads(text)})


def denominator_of(protocol_id: str) -> Denominator:
    """Return of which images ``asr`` is a share under a protocol; "" stands for none."""
    return find_protocol(protocol_id).rules.asr_denominator if protocol_id else "other-classes"
