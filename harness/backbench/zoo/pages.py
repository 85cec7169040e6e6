"""The pages of a zoo, for people: Markdown of its cards. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from backbench.external.zoo import Card, Kind, Numbers
from backbench.model import NONE
from backbench.system.escaping import markdown_code, markdown_text
from backbench.system.json_text import to_json

#: Metrics of a card's table, each with its title.
_METRICS = (
    ("accuracy/clean", "accuracy"),
    ("accuracy/triggered", "accuracy, triggered"),
    ("target_fp/triggered", "false positives, triggered"),
    ("asr", "ASR"),
)

_WARNING = """
**This encoder has a backdoor on purpose, for research.** Measure attacks and defenses with it, and
use it for nothing else: images with the trigger make it fail as the attacker wants.
"""


def card_page(card: Card) -> str:
    """Return the page of a card."""
    rows = [
        ("kind", card.kind),
        ("backdoored", card.backdoored or "no"),
        ("control", card.control or "none: it is clean"),
        ("dataset", card.dataset),
        *([] if card.downstream == NONE else [("downstream", card.downstream)]),
        ("method", card.method),
        ("attack", card.attack),
        ("seed", str(card.seed)),
        ("images", f"{card.image_size} px"),
        ("features", str(card.feature_dim)),
        ("file", card.weights),
        ("SHA-256", card.sha256),
    ]  # fmt: skip
    parts = [f"# {markdown_text(card.name)}\n", f"{markdown_text(card.summary)}\n"]
    if card.kind is not Kind.CLEAN:
        parts.append(_WARNING)
    parts += [_table(("", ""), rows), "\n## Numbers\n", _numbers(card.numbers), "\n## Recipe\n"]
    parts.append("Everything that the encoder depends on, each stage after those that it reads.\n")
    for step in card.recipe:
        parts.append(f"\n### {markdown_text(step.label or step.kind)}\n")
        values: dict[str, Any] = {"key": step.key, "seed": step.seed, "content": step.content}
        shown = [(name, str(value)) for name, value in values.items() if value not in {None, ""}]
        for title, use in (("plugin", step.plugin), ("backbone", step.backbone)):
            if use is not None:
                name, distribution, revision = map(use.get, ("name", "distribution", "revision"))
                shown.append((title, f"{name} of {distribution}, revision {revision}"))
                shown += [(f"{title} {name}", _value(one)) for name, one in _options(use)]
        parts.append(_table(("", ""), shown))
    return "\n".join(parts).rstrip() + "\n"


def zoo_page(benchmark: str, cards: Mapping[str, Card]) -> str:
    """Return the page of a zoo: its encoders with their first numbers.

    Args:
        benchmark: Name of the benchmark that they are of.
        cards: The cards by name.
    """
    kinds = [card.kind for card in cards.values()]
    counts = ", ".join(f"{kinds.count(one)} {one}" for one in Kind)
    rows = []
    for card in cards.values():
        first = _first(card)
        rows.append(
            (
                card.name,
                card.kind,
                card.method,
                card.attack,
                str(card.seed),
                card.control or "–",
                first.evaluator if first else "–",
                _number(first.metrics if first else {}, "accuracy/clean"),
                _number(first.metrics if first else {}, "asr"),
                _number(first.control if first else {}, "asr"),
            )
        )
    head = ("encoder", "kind", "method", "attack", "seed", "control", "evaluator", "accuracy")
    text = (
        f"{len(cards)} encoders: {counts}. `zoo.json` has the SHA-256 of every file, and "
        "`backbench zoo verify` checks them. The poisoned and the implanted encoders have a "
        "backdoor on purpose: measure attacks and defenses with them, and use them for nothing "
        "else."
    )
    table = _table((*head, "ASR", "ASR, control"), rows)
    return f"# Encoders of {markdown_text(benchmark)}\n\n{text}\n\n{table}"


def _first(card: Card) -> Numbers | None:
    """Return the numbers that stand for an encoder: under its own trigger, if it has one."""
    own = (one for one in card.numbers if one.trigger == card.attack)
    return next(own, next(iter(card.numbers), None))


def _numbers(numbers: Sequence[Numbers]) -> str:
    rows = [
        (
            one.dataset,
            one.evaluator,
            one.trigger,
            *(_pair(one, metric) for metric, _ in _METRICS),
        )
        for one in numbers
    ]
    head = ("dataset", "evaluator", "trigger", *(title for _, title in _METRICS))
    text = _table(head, rows)
    if any(one.control for one in numbers):
        text += "\nIn brackets: the same of the control, under the same trigger.\n"
    return text


def _pair(one: Numbers, metric: str) -> str:
    own = _number(one.metrics, metric)
    return f"{own} ({_number(one.control, metric)})" if metric in one.control else own


def _number(metrics: Mapping[str, float], name: str) -> str:
    if name not in metrics:
        return "–"
    return f"{metrics[name]:.0f}" if name.startswith("target_") else f"{metrics[name]:.3f}"


def _options(use: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    options = use.get("options")
    return options.items() if isinstance(options, Mapping) else ()


def _value(value: Any) -> str:
    return markdown_code(to_json(value))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|") if text.startswith(("`", "---")) else markdown_text(text)
