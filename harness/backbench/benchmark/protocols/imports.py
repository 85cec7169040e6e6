"""Meet a card with an encoder that was trained elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from operator import getitem

from backbench.benchmark.protocols.card import EVERY, Protocol
from backbench.benchmark.protocols.rules import leaves
from backbench.external.encoder_options import ImportOptions

#: The plugin of the method that writes files of a layout; of the other layouts it is unknown.
METHODS = {"moco": "moco-v2", "byol": "byol", "jigsaw": "jigsaw", "rotnet": "rotnet"}

#: Options that a card fixes for every method, and an import has too.
_SHARED = ("backbone", "image_size", "mean", "std")


def is_for_layout(protocol: Protocol, evaluator: str, layout: str) -> bool:
    """Return whether a card's evaluator is for the methods that write files of a layout."""
    methods = protocol.evaluators[evaluator].methods if evaluator in protocol.evaluators else ()
    return not methods or METHODS.get(layout) in methods


def import_problems(protocol: Protocol, options: ImportOptions, side: int) -> Iterator[str]:
    """Yield in what an import contradicts a card, on images of ``side`` pixels."""
    found = options.model_dump(mode="json")
    for plugin in (EVERY, METHODS.get(options.layout)):
        fixed = protocol.methods.get(plugin or "")
        if fixed is None:
            continue
        wanted = {name: value for name, value in fixed.options.items() if name in _SHARED}
        if "image_size" in fixed.unset:
            wanted["image_size"] = side
        for path, value in leaves(wanted):
            has = reduce(getitem, path, found)
            if has != value:
                yield f"{'.'.join(path)} is {value!r} there, and {has!r} here"
