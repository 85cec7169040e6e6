"""The threat model of an attack: what it poisoned, and what it requested."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from backbench.model import Plan, Stage, StageKind
from backbench.store.metadata import ImplantRecord, Metadata, PoisonRecord, TriggerRecord
from backbench.store.records import Record

#: Stages that an attack does.
_ATTACKS = (StageKind.FIT_TRIGGER, StageKind.POISON, StageKind.IMPLANT)


def threat_of(
    path: Iterable[str], plan: Plan, record_of: Callable[[str], Record | None]
) -> dict[str, Any]:
    """Return the threat model of the attack on the path of a cell, as far as it has run.

    Poisons that no training on the path reads are none of it: their trigger is shown to an encoder
    whose own training images are not known, or to one that was trained on another dataset.
    """
    stages = {key: plan.stages[key] for key in path if key in plan.stages}
    unread = unread_poisons(stages)
    done = (key for key, stage in stages.items() if stage.kind in _ATTACKS and key not in unread)
    return threat_model(one.metadata for one in map(record_of, done) if one is not None)


def unread_poisons(stages: Mapping[str, Stage]) -> set[str]:
    """Return which of the poisons that lead to an evaluation are read by no training."""
    read = {one.inputs.get("poison") for one in stages.values() if one.kind is StageKind.PRETRAIN}
    return {key for key, one in stages.items() if one.kind is StageKind.POISON} - read


def threat_model(made: Iterable[Metadata]) -> dict[str, Any]:
    """Return the threat model of an attack as JSON values.

    Args:
        made: The metadata of the attack's stages: poison, learned trigger, implant.

    Returns:
        ``poisons``, ``added`` and ``rate_of_dataset``; ``labels``, the sets whose labels it read;
        ``sets``, the number of images of each further set; ``features``, true if it has seen those
        of a clean encoder; ``shadow_fraction`` and ``references`` of an attack that learns or
        changes an encoder; ``learns``, true if it has learned its trigger; ``weights``, true if it
        changes an encoder. Empty without an attack.
    """
    found: dict[str, Any] = {}
    for one in made:
        if isinstance(one, PoisonRecord):
            found |= {name: getattr(one, name) for name in ("poisons", "added", "rate_of_dataset")}
            found |= one.threat
        elif isinstance(one, ImplantRecord | TriggerRecord):
            for name in ("shadow_fraction", "references"):
                found[name] = max(found.get(name, 0), getattr(one, name))
            if isinstance(one, ImplantRecord):
                found = {"poisons": 0, "added": 0, "rate_of_dataset": 0.0, **found, "weights": True}
            found.setdefault("weights", False)
            found["learns"] = found.get("learns", False) or isinstance(one, TriggerRecord)
    return found


def threat_text(threat: dict[str, Any]) -> str:
    """Return a threat model as a line for people; empty if nothing was requested."""
    added = threat.get("added")
    parts = [f"{threat.get('poisons', 0)} poisons{f', {added} of them added' if added else ''}"]
    parts += [f"labels of {name}" for name in threat.get("labels", ())]
    parts += [f"{count} images of {name}" for name, count in threat.get("sets", {}).items()]
    parts += ["features of a clean encoder"] if threat.get("features") else []
    shadow, references = threat.get("shadow_fraction"), threat.get("references")
    parts += [f"{shadow:g} of the training images as shadow images"] if shadow else []
    parts += [f"{references} references"] if references else []
    parts += ["weights of the encoder"] if threat.get("weights") else []
    return "; ".join(parts) if threat else ""
