"""Stages that are done, and whose artifact is not what it would be if they were done now.

Their keys stay, and so does what was made from them: images are the same, in another form.
"""

from __future__ import annotations

from backbench.model import Plan, Stage, StageKind
from backbench.stages.inputs import POISONED
from backbench.store.metadata import DatasetRecord
from backbench.store.records import Record
from backbench.store.store import Store


def outdated(plan: Plan, store: Store) -> list[str]:
    """Return the keys of such stages.

    Args:
        plan: What is to be run.
        store: Where stages are done.
    """
    kinds = {StageKind.DATASET: _lacks_images, StageKind.POISON: _in_old_form}
    done = store.done()
    found = []
    for key, stage in plan.stages.items():
        if stage.kind in kinds and key in done:
            record = store.record(key)
            if record is not None and kinds[stage.kind](stage, record):
                found.append(key)
    return found


def _lacks_images(stage: Stage, record: Record) -> bool:
    """Say whether decoded images are to be kept, as was not asked for when the stage ran."""
    wanted = stage.plugin.options.get("cache", "off") if stage.plugin else "off"
    made = record.of(DatasetRecord)
    lacking = not made.decoded or None in made.decoded.values()
    return wanted != "off" and lacking and made.cache != wanted


def _in_old_form(_stage: Stage, record: Record) -> bool:
    """Say whether poisoned images are PNG files."""
    return POISONED not in record.files
