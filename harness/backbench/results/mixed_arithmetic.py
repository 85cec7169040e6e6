"""Trainings of one benchmark that were computed in different arithmetic."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress

from backbench.model import Plan, StageKind
from backbench.store.store import Store

#: Kinds of stages that train an encoder, and so magnify what rounding moves.
_TRAINS = {StageKind.PRETRAIN, StageKind.REPAIR}

#: In a record's file: all records of a large store are read, and parsing takes long.
_PRECISION = re.compile(rb'"arithmetic": \{\s*"precision": "(\w+)"')
_DEVICE = re.compile(rb'"device": "([a-z]+)')


def mixed_arithmetic(plan: Plan, stores: Sequence[Store]) -> Iterator[str]:
    """Yield a sentence if trainings of the plan were computed in more than one arithmetic.

    ``precision = "auto"`` is bf16 where the device has it, and fp32 elsewhere, under one key. A
    store that several machines filled may hold both, and then a row and its control may differ by
    more than the attack.
    """
    found: dict[str, list[str]] = {}
    trainings = {key: one for key, one in plan.stages.items() if one.kind in _TRAINS}
    for store in stores:
        for key in store.done() & trainings.keys():
            with suppress(OSError):  # which others report
                text = store.record_bytes(key)
                precision, device = _PRECISION.search(text), _DEVICE.search(text)
                if precision and device:
                    name = f"{precision[1].decode()} on {device[1].decode()}"
                    found.setdefault(name, []).append(trainings[key].label)
    if len(found) < 2:
        return
    most, *rest = sorted(found, key=lambda name: (-len(found[name]), name))
    counts = ", ".join(f"{len(found[name])} in {name} ({min(found[name])}, …)" for name in rest)
    yield (
        f"{len(found[most])} trainings were computed in {most}, and {counts}: a training ends "
        "elsewhere in other arithmetic, so that these rows cannot be compared; set `precision` in "
        "the methods, or run the few again with `backbench run --redo`"
    )
