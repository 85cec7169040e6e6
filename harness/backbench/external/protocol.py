"""What a protocol card asks of an encoder that was trained elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import reduce
from operator import getitem

from backbench.benchmark.config import Benchmark
from backbench.benchmark.protocols.card import EVERY, Protocol
from backbench.benchmark.protocols.rules import leaves
from backbench.errors import UsageError
from backbench.external.encoder_options import ImportOptions
from backbench.external.import_plan import Choice
from backbench.options.training import image_side

#: The plugin of the method that writes files of a layout; of the other layouts it is unknown.
_METHODS = {"moco": "moco-v2", "byol": "byol", "jigsaw": "jigsaw", "rotnet": "rotnet"}

#: What a card fixes of every method, and an import has too.
_SHARED = ("backbone", "image_size", "mean", "std")


def under_protocol(
    benchmark: Benchmark, choice: Choice, options: ImportOptions, asked: Sequence[str]
) -> Choice:
    """Check an import against the benchmark's card; keep the evaluators that fit the encoder.

    Raises:
        UsageError: With everything in which the import contradicts the card.
    """
    protocol = benchmark.protocol
    if protocol is None:
        return choice
    side = image_side(benchmark.metadata[choice.dataset].size, None)
    problems = list(_contradictions(protocol, options, side))
    fitting = tuple(name for name in choice.evaluators if _is_for(protocol, name, options.layout))
    if asked and fitting != choice.evaluators:
        others = [name for name in choice.evaluators if name not in fitting]
        problems.append(f"its evaluator {', '.join(others)} is for encoders of other methods")
    elif not fitting:
        problems.append(f"none of its evaluators here is for encoders of layout {options.layout!r}")
    if problems:
        raise UsageError(f"{options.weights}: protocol {protocol.id}: {'; '.join(problems)}")
    return replace(choice, evaluators=fitting)


def _is_for(protocol: Protocol, evaluator: str, layout: str) -> bool:
    methods = protocol.evaluators[evaluator].methods if evaluator in protocol.evaluators else ()
    return not methods or _METHODS.get(layout) in methods


def _contradictions(protocol: Protocol, options: ImportOptions, side: int) -> Iterator[str]:
    found = options.model_dump(mode="json")
    for plugin in (EVERY, _METHODS.get(options.layout)):
        fixed = protocol.methods.get(plugin or "")
        if fixed is None:
            continue
        wanted = {name: value for name, value in fixed.options.items() if name in _SHARED}
        if "image_size" in fixed.unset:
            wanted["image_size"] = side
        for place, value in leaves(wanted):
            has = reduce(getitem, place, found)
            if has != value:
                yield f"{'.'.join(place)} is {value!r} there, and {has!r} here"
