"""The table of the threat models of a plan's attacks. No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from backbench.errors import printable
from backbench.model import NONE, Plan
from backbench.plugin import Column
from backbench.report.sheet import Line, Sheet
from backbench.results.statistics import Summary, summarize
from backbench.results.threat import threat_of
from backbench.store.records import Record

FIELDS = ("dataset", "attack", "labels", "auxiliary", "surrogate", "weights")

COLUMNS = (
    Column("threat/images", "Images", decimals=4),
    Column("threat/poisons", "Poisons", decimals=0),
    Column("threat/added", "Added", decimals=0),
    Column("threat/shadow", "Shadow"),
    Column("threat/references", "References", decimals=0),
)
NOTE = (
    "what each attack requested: Labels: the sets whose labels it read; Auxiliary: further sets, "
    "and how many images they have; Surrogate: features, those of a clean encoder; trigger, one "
    "learned on the shadow images; Weights: whether it changes the encoder; Images: poisons as a "
    "share of the poisoned training set; Added: poisons that replace no image; Shadow: share of "
    "the training images that it was given without labels; References: images of the target "
    "class that it was given; n: seeds"
)


def threat_sheet(plan: Plan, record_of: Callable[[str], Record | None]) -> Sheet:
    """Collect the threat models of the attacks of a plan, a line for each."""
    found: dict[tuple[str, str], dict[int, Mapping[str, Any]]] = {}
    for cell in plan.cells:
        threat = threat_of(cell.path, plan, record_of) if cell.name.attack != NONE else {}
        if threat:
            seeds = found.setdefault((cell.name.dataset, cell.name.attack), {})
            seeds.setdefault(cell.name.seed, threat)
    lines = tuple(_line(*names, by_seed) for names, by_seed in found.items())
    title, nothing = f"{plan.benchmark} · threat models", "no attack has run yet"
    return Sheet(title, FIELDS, COLUMNS, lines, NOTE, nothing)


def _line(dataset: str, attack: str, by_seed: Mapping[int, Mapping[str, Any]]) -> Line:
    first = by_seed[min(by_seed)]
    sets = first.get("sets", {})
    surrogate = "features" * bool(first.get("features")) or "trigger" * bool(first.get("learns"))
    names = {
        "dataset": dataset,
        "attack": attack,
        "labels": printable(", ".join(map(str, first.get("labels", ())))) or NONE,
        "auxiliary": printable(", ".join(f"{name} {sets[name]}" for name in sets)) or NONE,
        "surrogate": surrogate or NONE,
        "weights": "yes" if first.get("weights") else "no",
    }
    fields = {
        "threat/images": "rate_of_dataset",
        "threat/poisons": "poisons",
        "threat/added": "added",
        "threat/shadow": "shadow_fraction",
        "threat/references": "references",
    }
    values: dict[str, Summary] = {}
    for name, field in fields.items():
        numbers = [float(one[field]) for _, one in sorted(by_seed.items()) if field in one]
        if numbers:
            values[name] = summarize(numbers)
    return Line(names, tuple(sorted(by_seed)), values)
