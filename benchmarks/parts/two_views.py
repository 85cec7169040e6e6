"""SimCLR and SimSiam pretraining on two cores, beside lightly."""

from __future__ import annotations

import importlib.util
import math
from typing import Final

from benchmarks.rounds import Contender, Rounds, python
from benchmarks.rows import Absent, Gate, Row, Settings, compare
from benchmarks.workers import moco_common as common
from benchmarks.workers.moco_peer import Use, write_files

METHODS: Final = {"simclr": "SimCLR", "simsiam": "SimSiam"}
NAMES: Final = {"w16": "w16, 32 px", "rn18-64": "ResNet-18, 64 px"}

#: Least ratios of the throughput of a matrix.
BARS: Final = {"w16": 2.8, "rn18-64": 2.5}

#: The peer's fastest use of two cores as shipped, of those that ``pretraining`` tries.
USE: Final = Use("none", threads=1, workers=0)


def rows(settings: Settings) -> list[Row | Absent]:
    """Measure."""
    if not importlib.util.find_spec("lightly"):
        why = "it is not installed: pip install --group bench"
        return [Absent(name, "lightly", why) for name in METHODS.values()]
    found: list[Row | Absent] = []
    for case in BARS:
        write_files(settings.scratch, common.CASES[case].side)
        found += [_row(settings, method, case) for method in METHODS]
    return found


def _row(settings: Settings, method: str, case: str) -> Row:
    steps = str(common.CASES[case].peer_steps)
    words = method, str(settings.scratch), case, steps, str(USE)
    ours = _contender("ours", python("benchmarks.workers.two_views_ours", method, case))
    peer = _contender("lightly", python("benchmarks.workers.two_views_lightly", *words))
    measured = settings.interleave([ours, peer])
    return compare(
        measured,
        stage=f"{METHODS[method]} {NAMES[case]}: matrix throughput",
        against="lightly",
        ours=ours.name,
        peer=peer.name,
        unit="pairs/s",
        gate=_gate(measured),
        bar=BARS[case],
        note=f"Batch {common.BATCH}; two processes of one thread each, and no loader workers. The "
        "peer reads JPEG files, kept in memory, in every epoch; ours reads its cache",
    )


def _contender(name: str, command: list[str]) -> Contender:
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return Contender(name, command, env=threads, processes=2, cores=("0", "1"))


def _gate(found: Rounds) -> Gate:
    answers = [one for of in found.of.values() for turn in of.answers for one in turn]
    return Gate(
        "networks with equal numbers of weights in convolutions and linear layers, finite losses",
        len({one["weights"] for one in answers}) == 1
        and all(math.isfinite(one["loss"]) for one in answers),
    )
