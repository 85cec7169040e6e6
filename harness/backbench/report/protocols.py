"""Protocol cards as text."""

from __future__ import annotations

import itertools
import operator
import textwrap
from collections.abc import Iterator
from typing import Any

from backbench.benchmark.protocols.card import EVERY, Protocol, find_protocol, protocol_ids
from backbench.benchmark.protocols.rules import leaves
from backbench.system.json_text import to_json

_WIDTH = 100

#: The rules of a card, for people.
_SAID = {
    "other-classes": "share of the triggered images that are not of the target class",
    "all-images": "share of all triggered images, those of the target class among them",
    "trained": "the network that gradients train (query, online), never its average",
    "last-epoch": "the last; none is chosen by an accuracy",
    "typed": "says what it is a share of, or that it is a number of images",
}


def cards_text(style: str = "table") -> str:
    """Return the list of the cards, as a ``table`` or as ``json``."""
    cards = [find_protocol(one) for one in protocol_ids()]
    if style == "json":
        rows = [{"id": one.id, "summary": one.summary, "source": one.source} for one in cards]
        return to_json(rows, indent=2)
    width = max(len(one.id) for one in cards)
    lines = [f"{one.id:{width}}  {one.summary}" for one in cards]
    hint = "`backbench protocol show ID` says what one fixes, `protocol diff A B` what differs."
    return "\n".join([*lines, "", hint])


def card_text(protocol_id: str, style: str = "table") -> str:
    """Return every value that a card fixes, and where its numbers come from."""
    card = find_protocol(protocol_id)
    if style == "json":
        content = card.model_dump(mode="json") | {"classes": card.class_names()}
        return to_json(content, indent=2)
    lines = [f"{card.id}: {card.summary}", f"source: {card.source}"]
    rows = dict(values_of(card))
    width = max(len(place) for _, place in rows)
    for heading, group in itertools.groupby(rows, key=operator.itemgetter(0)):
        lines += ["", heading, *(_line(row[1], width, rows[row]) for row in group)]
    return "\n".join(lines)


def difference_text(one_id: str, other_id: str, style: str = "table") -> str:
    """Return what two cards fix differently."""
    one, other = dict(values_of(find_protocol(one_id))), dict(values_of(find_protocol(other_id)))
    places = [place for place in (one | other) if one.get(place) != other.get(place)]
    if style == "json":
        rows = [
            {"where": " · ".join(place), one_id: one.get(place), other_id: other.get(place)}
            for place in places
        ]
        return to_json(rows, indent=2)
    if not places:
        return f"{one_id} and {other_id} fix the same"
    lines = []
    width = max(len(one_id), len(other_id))
    sides = {one_id: {heading for heading, _ in one}, other_id: {heading for heading, _ in other}}
    for name, others in ((one_id, sides[other_id]), (other_id, sides[one_id])):
        headings = dict.fromkeys(place[0] for place in places if place[0] in sides[name])
        lines += [f"{heading}: only {name}" for heading in headings if heading not in others]
    for place in places:
        if all(place[0] in side for side in sides.values()):
            lines.append(" · ".join(place))
            for name, values in ((one_id, one), (other_id, other)):
                lines.append(_line(name, width, values.get(place)))
    return "\n".join(lines)


def _line(name: str, width: int, value: Any) -> str:
    """Write a name and a value; a long value continues below itself."""
    margin = " " * (width + 4)
    body = textwrap.fill(shown(value), _WIDTH, initial_indent=margin, subsequent_indent=margin)
    return f"  {name:{width}}  {body.lstrip()}"


def shown(value: Any) -> str:
    """Return a value of a card as text."""
    return "–" if value is None else value if isinstance(value, str) else to_json(value)


def values_of(card: Protocol) -> Iterator[tuple[tuple[str, str], Any]]:
    """Yield all that a card fixes: a heading and a name, and the value."""
    for word, rule in (
        ("attack success rate", card.rules.asr_denominator),
        ("encoder", card.rules.encoder),
        ("epoch", card.rules.selection),
        ("poison rate", card.rules.rate),
    ):
        yield ("what words mean", word), _SAID[rule]
    yield from _images(card)
    for axis in ("datasets", "attacks", "methods"):
        for plugin, fixed in getattr(card, axis).items():
            whose = "all that have the option" if plugin == EVERY else f"plugin {plugin}"
            heading = f"{axis}, {whose}"
            for place, value in leaves(fixed.options):
                yield (heading, ".".join(place)), value
            for name in fixed.unset:
                yield (heading, name), "left out"
    for evaluator, one in card.evaluators.items():
        heading = f"evaluator {evaluator}"
        yield (heading, "plugin"), one.plugin
        yield (heading, "methods"), ", ".join(one.methods) or "all"
        for place, value in leaves(one.options):
            yield (heading, ".".join(place)), value


def _images(card: Protocol) -> Iterator[tuple[tuple[str, str], Any]]:
    heading, images = "images", card.images
    named = images.classes if isinstance(images.classes, str) else ", ".join(images.classes)
    yield (heading, "classes"), f"{len(card.class_names())}: {named}"
    yield (heading, "fingerprint of the classes"), images.classes_sha256
    yield (heading, "training images"), images.train
    yield (heading, "validation images"), images.val
    made = f"as they are, {images.crop} px"
    if images.resize is not None:
        made = f"short side to {images.resize} px, the center {images.crop} px"
    yield (heading, "validation images are"), made
