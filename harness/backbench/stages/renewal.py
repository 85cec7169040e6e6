"""Stages that are done, and whose artifact is not what it would be if they were done now.

Their keys stay, and so does what was made from them: images are the same, in another form.
"""

from __future__ import annotations

from backbench.model import Plan, Stage, StageKind
from backbench.store.metadata import DatasetRecord
from backbench.store.store import Store


def outdated(plan: Plan, store: Store) -> list[str]:
    """Return the keys of such stages: datasets whose decoded images are wanted and not kept."""
    done = store.done()
    return [
        key
        for key, stage in plan.stages.items()
        if stage.kind is StageKind.DATASET and key in done and _lacks_images(stage, store)
    ]


def _lacks_images(stage: Stage, store: Store) -> bool:
    record = store.record(stage.key)
    wanted = stage.plugin.options.get("cache", "off") if stage.plugin else "off"
    if record is None or wanted == "off":
        return False
    made = record.of(DatasetRecord)
    lacking = not made.decoded or None in made.decoded.values()
    return lacking and made.cache != wanted
