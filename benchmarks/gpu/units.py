"""The units of a run on a GPU, in their order: checks, measurements, training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from benchmarks.gpu import checks, peers, speed, training
from benchmarks.gpu.context import Context

Unit = Callable[[Context], dict[str, Any]]

#: SSL methods whose steps are compared.
_CHECKED: Final = ("moco-v2", "byol", "simclr", "simsiam", "jigsaw", "rotnet")


def units(*, tiny: bool) -> Mapping[str, Unit]:
    """Return the units by name; the trainings come last, since they take longest."""
    found: dict[str, Unit] = {}
    for method in _CHECKED:
        found[f"steps {method}"] = partial(checks.method_steps, method=method)
    for guard in checks.GUARDS:
        found[f"steps simsiam with {guard}"] = partial(
            checks.method_steps, method="simsiam", guard=guard
        )
    found["matrix on the device"] = partial(checks.matrix, store=checks.CHECKED)
    found["matrix on the processor"] = partial(checks.matrix, store=checks.REFERENCE)
    found["matrix compared"] = checks.compared
    found["limit"] = speed.limit
    for case in list(speed.CASES)[: 1 if tiny else None]:
        for method in speed.METHODS:
            found[f"pairs {method} {case}"] = partial(speed.pairs, method=method, case=case)
        for peer in peers.PEERS:
            found[f"{peer} moco-v2 {case}"] = partial(
                peers.pairs, peer=peer, case=case, sections=speed.SECTIONS
            )
    found["step eager, compiled, graph"] = speed.step_variants
    found["linear probe"] = speed.linear_probe
    found["cifar10"] = training.cifar10
    return found
