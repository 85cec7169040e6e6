"""Augmented views on one core, beside the published pipeline, kornia, torchvision and lightly."""

from __future__ import annotations

import importlib.util
from typing import Final

from benchmarks.published import PeerMissingError, checkout
from benchmarks.rounds import Contender, Rounds, python
from benchmarks.rows import Absent, Gate, Row, Settings, compare

#: Least ratios of the exact mode, by side.
BARS: Final[dict[str, dict[int, float]]] = {
    "published": {32: 6, 64: 4},
    "kornia": {32: 2.5, 64: 4},
    "torchvision": {},
    "lightly": {},
}
NAMES: Final = {"published": "published code (PIL)", "torchvision": "torchvision v2, one by one"}

#: How far from torchvision a channel may be, in [0, 1]: a tenth of a step of 8 bits.
NEAR: Final = 0.1 / 255

#: Which core all contenders share, in turn.
CORE: Final = "0"

_ONE: Final = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def rows(settings: Settings) -> list[Row | Absent]:
    """Measure."""
    made: list[Row | Absent] = []
    environments: dict[str, dict[str, str]] = {}
    for name in BARS:
        if name == "published":
            try:
                copy = checkout(settings.published, settings.scratch, ["plots"])
            except PeerMissingError as error:
                made.append(Absent("augmented views", NAMES[name], str(error)))
                continue
            environments[name] = copy.environment("moco")
        elif importlib.util.find_spec(name):
            environments[name] = {}
        else:
            why = "it is not installed: pip install --group bench"
            made.append(Absent("augmented views", name, why))
    for side in (32, 64):
        found = settings.interleave(_contenders(side, environments))
        made += [
            compare(
                found,
                stage=f"augmented views, one core, {side} px{mode}",
                against=NAMES.get(name, name),
                ours=ours,
                peer=name,
                unit="views/s",
                gate=_gate(found),
                bar=BARS[name].get(side) if ours == "exact" else None,
                note="MoCo v2's views, as large as the images, in a batch of 256",
            )
            for ours, mode in (("exact", ""), ("linear", ", linear colors"))
            for name in environments
        ]
    return made


def _contenders(side: int, environments: dict[str, dict[str, str]]) -> list[Contender]:
    ours = [
        Contender(mode, python("benchmarks.workers.views_ours", str(side), mode), _ONE, cores=CORE)
        for mode in ("exact", "linear")
    ]
    peers = [
        Contender(
            name,
            python("benchmarks.workers.views_peer", name, str(side)),
            {**environment, **_ONE},
            cores=CORE,
        )
        for name, environment in environments.items()
    ]
    return ours + peers


def _gate(found: Rounds) -> Gate:
    farthest = max(one["difference"] for turn in found.of["exact"].answers for one in turn)
    return Gate(
        f"crop, jitter, gray and flip within {NEAR:.1e} of torchvision's for the same numbers "
        f"(found {farthest:.1e})",
        farthest < NEAR,
    )
