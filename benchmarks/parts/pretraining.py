"""MoCo v2 pretraining on two cores, beside the published code and lightly; and the limit."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from benchmarks.published import PeerMissingError, Published, checkout
from benchmarks.rounds import Contender, Measured, Rounds, Spread, interleave, python, ratio
from benchmarks.rows import Absent, Gate, Row, Settings, compare
from benchmarks.workers import moco_common as common
from benchmarks.workers.moco_peer import Use, write_files

#: Least ratios: matrix throughput as shipped and against tuned peers, and one run's latency.
BARS: Final = {
    "w16": {
        "machine": {"published": 4.5, "lightly": 3.5},
        "run": {"published": 3.3, "lightly": 2.7},
        "tuned": {"best": 1.7},
    },
    "rn18-64": {
        "machine": {"published": 2.8, "lightly": 2.3},
        "run": {"published": 2.2, "lightly": 1.9},
        "tuned": {"best": 1.3},
    },
}
#: Least shares of the limit of convolutions.
SHARES: Final = {"rn18-32": 0.70, "rn18-64": 0.52, "w16": 0.48}

NAMES: Final = {
    "w16": "w16, 32 px",
    "rn18-64": "ResNet-18, 64 px",
    "rn18-32": "ResNet-18 with the CIFAR stem, 32 px",
}

#: How one process of a peer uses two cores: threads, workers that load.
ALONE: Final = ((2, 0), (2, 1), (2, 2), (1, 1), (1, 2))
#: Two processes of a thread each fill the cores: workers would only take turns with them.
PAIRED: Final = ((1, 0),)
FLAGS: Final = ("none", "free")
#: Steps of a section in which settings are tried.
PILOT: Final = {"w16": 3, "rn18-64": 2}
PAIR: Final = "pairs/s"

OWN: Final = (
    "the network's own convolutions alone take {:.0%} of a step: the rest is batch norm, ReLU, "
    "sums, pooling, views and the optimizer"
)


def rows(settings: Settings) -> list[Row | Absent]:
    """Measure."""
    found: list[Row | Absent] = []
    peers, missing = _peers(settings)
    for case in BARS:
        write_files(settings.scratch, common.CASES[case].side)
        found += _compared(settings, case, peers, _best(settings, case, peers))
        found += [Absent(f"MoCo v2 {NAMES[case]}", name, why) for name, why in missing.items()]
    shares, own = _shares(settings)
    return [*explained(found, own), *shares]


def explained(found: Sequence[Row | Absent], own: Mapping[str, float]) -> list[Row | Absent]:
    """Say of each comparison where a step's time goes, and what its ratio could be at most.

    Args:
        found: Comparisons.
        own: What a network's own convolutions alone take of a step on one core, by case.
    """
    by_name = {f"MoCo v2 {NAMES[case]}": share for case, share in own.items()}
    made: list[Row | Absent] = []
    for row in found:
        share = by_name.get(row.stage.rpartition(":")[0])
        if isinstance(row, Row) and row.ratio is not None and share is not None:
            most = row.ratio.median / share
            said = f"{OWN.format(share)}; if the rest took no time, the ratio would be {most:.2g}"
            made.append(replace(row, profile=said))
        else:
            made.append(row)
    return made


_Peers = dict[str, tuple[str, dict[str, str]]]


def _peers(settings: Settings) -> tuple[_Peers, dict[str, str]]:
    """Return the module and the environment of each peer that is here, and why others are not."""
    peers: _Peers = {}
    missing = {}
    try:
        copy: Published = checkout(settings.published, settings.scratch, ["cuda", "gloo", "plots"])
        peers["published"] = ("moco_published", copy.environment("moco"))
    except PeerMissingError as error:
        missing["published code"] = str(error)
    if importlib.util.find_spec("lightly"):
        peers["lightly"] = ("moco_lightly", {})
    else:
        missing["lightly"] = "it is not installed: pip install --group bench"
    return peers, missing


def _threads(count: int) -> dict[str, str]:
    return {name: str(count) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}


def _peer(
    peer: tuple[str, dict[str, str]], scratch: Path, case: str, steps: int, uses: Sequence[Use]
) -> Contender:
    """Return a process of a peer, or two of a thread each, with these settings."""
    module, environment = peer
    processes = 2 if (uses[0].threads, uses[0].workers) in PAIRED else 1
    words = map(str, uses)
    return Contender(
        f"{module.removeprefix('moco_')} {case} {uses[0]} {processes}",
        python(f"benchmarks.workers.{module}", str(scratch), case, str(steps), *words),
        env={**environment, **_threads(3 - processes)},
        processes=processes,
        cores=("0", "1") if processes == 2 else "0-1",
    )


def _ours(case: str, processes: int, threads: int) -> Contender:
    return Contender(
        f"ours {processes} x {threads}",
        python("benchmarks.workers.moco_ours", case),
        env=_threads(threads),
        processes=processes,
        cores=("0", "1") if threads == 1 else "0-1",
    )


def _best(settings: Settings, case: str, peers: _Peers) -> dict[str, Use]:
    """Find how each peer is fastest, in one round: one run alone, and the machine.

    Returns:
        By ``<peer> <run or machine>`` without flags, and ``tuned <peer>``: that with them which
        was the fastest of all.
    """
    chosen: dict[str, Use] = {}
    tuned: dict[str, tuple[float, Use]] = {}
    for name, peer in peers.items():
        rates: dict[Use, float] = {}
        for settings_of in (ALONE, PAIRED):
            uses = [Use(flags, *one) for flags in FLAGS for one in settings_of]
            pilot = _peer(peer, settings.scratch, case, PILOT[case], uses)
            (turn,) = interleave([pilot], 1, 0).of[pilot.name].answers
            for use in uses:
                rates[use] = sum(one["rates"][str(use)] for one in turn)
        said = ", ".join(f"{use} {rate:.0f}" for use, rate in rates.items())
        settings.say(f"{name} {case}, flags-threads-workers, pairs/s: {said}")
        plain = {use: rate for use, rate in rates.items() if use.flags == "none"}
        single = {use: rate for use, rate in plain.items() if (use.threads, use.workers) in ALONE}
        chosen[f"{name} machine"] = max(plain, key=lambda use: plain[use])
        chosen[f"{name} run"] = max(single, key=lambda use: single[use])
        free = max(rates.keys() - plain.keys(), key=lambda use: rates[use])
        tuned[name] = rates[free], free
    if tuned:
        best = max(tuned, key=lambda name: tuned[name][0])
        chosen[f"{best} tuned"] = tuned[best][1]
    return chosen


def _compared(
    settings: Settings, case: str, peers: _Peers, chosen: Mapping[str, Use]
) -> list[Row | Absent]:
    ours = {"machine": _ours(case, 2, 1), "run": _ours(case, 1, 2)}
    steps = common.CASES[case].peer_steps
    theirs = {
        key: _peer(peers[key.split()[0]], settings.scratch, case, steps, [use])
        for key, use in chosen.items()
    }
    different = {one.name: one for one in [*ours.values(), *theirs.values()]}
    found = settings.interleave(list(different.values()))
    gate = _gate(found)
    made: list[Row | Absent] = []
    for key, peer in theirs.items():
        name, what = key.split()
        called = {"published": "published code"}.get(name, name)
        stage = "latency of one run" if what == "run" else "matrix throughput"
        bars = BARS[case][what]
        made.append(
            compare(
                found,
                stage=f"MoCo v2 {NAMES[case]}: {stage}",
                against="the best peer" if what == "tuned" else called,
                flags="free flags: bf16, channels-last" if what == "tuned" else "as shipped",
                ours=ours["run" if what == "run" else "machine"].name,
                peer=peer.name,
                unit=PAIR,
                gate=gate,
                bar=bars.get(name, bars.get("best")),
                note=f"Batch {common.BATCH}, queue {common.QUEUE}. Settings of {called}: "
                f"{_note(peer, chosen[key])}",
            )
        )
    return made


def _note(peer: Contender, use: Use) -> str:
    tried = len(ALONE) + len(PAIRED)
    return (
        f"its best of {tried} settings, {peer.processes} x {use.threads} threads, {use.workers} "
        "loader workers, no batch loaded before a section. The peer reads JPEG files, kept in "
        "memory, in every epoch; ours reads its cache"
    )


def _gate(found: Rounds) -> Gate:
    said = [one for of in found.of.values() for turn in of.answers for one in turn]
    same = len({(one["parameters"], tuple(one["queue"])) for one in said}) == 1
    finite = all(abs(one.get("loss", 0.0)) < 100 for one in said)  # also where it is not a number
    return Gate(
        "networks with equal numbers of parameters, batches and queues of one size, finite losses",
        same and finite,
    )


def _shares(settings: Settings) -> tuple[list[Row], dict[str, float]]:
    """Compare one core's steps with what its convolutions alone would take.

    Returns:
        Rows, and by case what the network's own convolutions alone take of a step.
    """
    runs = {case: replace(_ours(case, 1, 1), name=f"ours {case}") for case in SHARES}
    module = "benchmarks.workers.ceiling"
    limit = Contender("convolutions", python(module), _threads(1), cores="0")
    alone = {
        case: Contender(f"convolutions {case}", python(module, case), _threads(1), cores="0")
        for case in SHARES
    }
    found = settings.interleave([limit, *runs.values(), *alone.values()])
    ceiling = found.of[limit.name]
    copying = Spread.of([one["copy_gb_s"] for turn in ceiling.answers for one in turn])
    made, own = [], dict[str, float]()
    for case, bar in SHARES.items():
        work = 4 * common.gflop(common.CASES[case])  # a query forwards and back, a key forwards
        steps = found.of[f"ours {case}"]
        own[case] = ratio(steps, found.of[alone[case].name]).median
        done = Measured(steps.name, [rate * work for rate in steps.rates])
        made.append(
            Row(
                stage=f"MoCo v2 {NAMES[case]}: share of the convolutions' limit, one core",
                against="limit",
                unit="GFLOP/s",
                ours=done.rate,
                peer=ceiling.rate,
                ratio=ratio(done, ceiling),
                bar=bar,
                gate=_gate(Rounds({steps.name: steps})),
                disturbed=found.disturbed,
                note=f"{steps.rate.median:.0f} pairs/s. The limit: bf16 convolutions alone, "
                "with as many forward and backward passes as a step, at the best of seven shapes; "
                f"copying {copying.median:.0f} GB/s",
                profile=OWN.format(own[case]),
            )
        )
    return made, own
