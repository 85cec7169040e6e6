"""MoCo v2 pretraining on two cores, beside the published code and lightly; and the limit."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from benchmarks.published import PeerMissingError, Published, checkout
from benchmarks.rounds import Contender, Measured, Rounds, Spread, interleave, python, ratio
from benchmarks.rows import Absent, Gate, Row, Settings, compare
from benchmarks.workers import moco_common as common

#: Least ratios: matrix throughput as shipped and against tuned peers, and one run's latency.
BARS: Final = {
    "w16": {"published": (4.5, 3.3), "lightly": (3.5, 2.7), "tuned": 1.7},
    "rn18-64": {"published": (2.8, 2.2), "lightly": (2.3, 1.9), "tuned": 1.3},
}
#: Least shares of the limit of convolutions.
SHARES: Final = {"rn18-32": 0.70, "rn18-64": 0.52, "w16": 0.48}

NAMES: Final = {
    "w16": "w16, 32 px",
    "rn18-64": "ResNet-18, 64 px",
    "rn18-32": "ResNet-18 with the CIFAR stem, 32 px",
}

#: How a peer uses two cores: processes, threads of each, workers that load.
USES: Final = {
    "1 process, 2 threads, workers 0": (1, 2, 0),
    "1 process, 2 threads, workers 1": (1, 2, 1),
    "1 process, 1 thread, workers 1": (1, 1, 1),
    "1 process, 2 threads, workers 2": (1, 2, 2),
    "2 processes, 1 thread each": (2, 1, 0),
}
PAIR: Final = "pairs/s"


def rows(settings: Settings) -> list[Row | Absent]:
    """Measure."""
    found: list[Row | Absent] = []
    peers, missing = _peers(settings)
    for case in BARS:
        chosen = _best(settings, case, peers)
        found += _compared(settings, case, chosen)
        found += [Absent(f"MoCo v2 {NAMES[case]}", name, why) for name, why in missing.items()]
    return found + _shares(settings)


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
    peer: tuple[str, dict[str, str]], scratch: Path, case: str, flags: str, use: str
) -> Contender:
    module, environment = peer
    processes, threads, workers = USES[use]
    return Contender(
        f"{module.removeprefix('moco_')} {flags} {use}",
        python(f"benchmarks.workers.{module}", str(scratch), case, str(workers), flags),
        env={**environment, **_threads(threads)},
        processes=processes,
        cores=("0", "1") if processes == 2 else "0-1",
        fresh=True,
    )


def _ours(case: str, processes: int, threads: int) -> Contender:
    return Contender(
        f"ours {processes} x {threads}",
        python("benchmarks.workers.moco_ours", case),
        env=_threads(threads),
        processes=processes,
        cores=("0", "1") if threads == 1 else "0-1",
    )


def _best(settings: Settings, case: str, peers: _Peers) -> dict[str, Contender]:
    """Find how each peer is fastest, in one round: of one run, and of the machine.

    Returns:
        By ``<peer> <flags> <run or machine>``.
    """
    chosen = {}
    for name in peers:
        for flags in ("none", "free"):
            tried = {use: _peer(peers[name], settings.scratch, case, flags, use) for use in USES}
            found = interleave(list(tried.values()), 1, 0, settings.say).of
            rates = {use: found[one.name].rates[0] for use, one in tried.items()}
            single = {use: rate for use, rate in rates.items() if USES[use][0] == 1}
            for what, of in (("machine", rates), ("run", single)):
                best = replace(tried[max(of, key=lambda use: of[use])], fresh=False)
                chosen[f"{name} {flags} {what}"] = best
    return chosen


def _compared(settings: Settings, case: str, chosen: Mapping[str, Contender]) -> list[Row | Absent]:
    ours = {"machine": _ours(case, 2, 1), "run": _ours(case, 1, 2)}
    wanted = {key: one for key, one in chosen.items() if key.split()[1:] != ["free", "run"]}
    different = {one.name: one for one in [*ours.values(), *wanted.values()]}
    found = settings.interleave(list(different.values()))
    gate = _gate(found)
    bars = BARS[case]
    made: list[Row | Absent] = []
    for name in ("published", "lightly"):
        for what, bar in zip(("machine", "run"), bars[name], strict=True):
            if (peer := chosen.get(f"{name} none {what}")) is None:
                continue
            stage = "matrix throughput" if what == "machine" else "latency of one run"
            made.append(
                compare(
                    found,
                    stage=f"MoCo v2 {NAMES[case]}: {stage}",
                    against={"published": "published code"}.get(name, name),
                    ours=ours[what].name,
                    peer=peer.name,
                    unit=PAIR,
                    gate=gate,
                    bar=bar,
                    note=f"batch {common.BATCH}, queue {common.QUEUE}; {_note(peer)}",
                )
            )
    tuned = [chosen[key] for key in chosen if key.endswith("free machine")]
    if tuned:
        best = max(tuned, key=lambda one: found.of[one.name].rate.median)
        made.append(
            compare(
                found,
                stage=f"MoCo v2 {NAMES[case]}: matrix throughput",
                against="the best peer",
                flags="free flags: bf16, channels-last",
                ours=ours["machine"].name,
                peer=best.name,
                unit=PAIR,
                gate=gate,
                bar=bars["tuned"],
                note=f"{best.name.split()[0]}; {_note(best)}",
            )
        )
    return made


def _note(peer: Contender) -> str:
    return f"the peer's best of {len(USES)} settings: {peer.name.split(maxsplit=2)[2]}"


def _gate(found: Rounds) -> Gate:
    said = [one for of in found.of.values() for turn in of.answers for one in turn]
    same = len({(one["parameters"], tuple(one["queue"])) for one in said}) == 1
    finite = all(abs(one.get("loss", 0.0)) < 100 for one in said)  # also where it is not a number
    return Gate(
        "networks with as many parameters, batches and queues of one size, finite losses",
        same and finite,
    )


def _shares(settings: Settings) -> list[Row]:
    """Compare one core's steps with what its convolutions alone would take."""
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
    made = []
    for case, bar in SHARES.items():
        work = 4 * common.gflop(common.CASES[case])  # a query forwards and back, a key forwards
        steps = found.of[f"ours {case}"]
        own = ratio(steps, found.of[alone[case].name])
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
                note=f"{steps.rate.median:.0f} pairs/s. The limit: bf16 convolutions alone, as "
                "often forwards and back as a step, at the best of seven shapes; copying "
                f"{copying.median:.0f} GB/s",
                profile=f"the network's own convolutions alone take {own.median:.0%} of a step: "
                "the rest is batch norm, ReLU, sums, pooling, views and the optimiser",
            )
        )
    return made
