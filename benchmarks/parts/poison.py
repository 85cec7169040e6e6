"""Poison files beside the published generator, and a poisoned set made from a clean cache."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from benchmarks.data import TARGET, imagenet100
from benchmarks.published import PeerMissingError, Published, checkout
from benchmarks.rounds import Contender, Rounds, all_cores, environment, python
from benchmarks.rows import Absent, Gate, Row, Settings, compare

#: Files of each split, so many that starting processes is no more than in a real run (ImageNet-100
#: has 1,300 + 5,000), and each which is compared byte by byte.
_TRAIN: Final = 2600
_VAL_OF_EACH_CLASS: Final = 26
_STEP: Final = 10
#: Pictures of the cache, and their side.
_CACHED: Final = 1300
_SIDE: Final = 64

_STAGES: Final = {
    "train": ("poison files, train", 7.0),
    "val_poisoned": ("poison files, validation", 3.2),
}
_CACHE_STAGE: Final = "clean cache and stored poison → training-ready set"


def rows(settings: Settings) -> list[Row | Absent]:
    """Time both splits' files and the overlay."""
    stages = [*(stage for stage, _ in _STAGES.values()), _CACHE_STAGE]
    if settings.data is None:
        why = "set BACKBENCH_TEST_DATA to a folder with imagenet100-sample.tar"
        return [Absent(stage, "published code", why) for stage in stages]
    try:
        peer = checkout(settings.published, settings.scratch, ["numpy", "show", "plots"])
    except PeerMissingError as error:
        return [Absent(stage, "published code", str(error)) for stage in stages]
    home = imagenet100(
        settings.data / "imagenet100-sample.tar",
        settings.scratch / "in100",
        _TRAIN,
        _VAL_OF_EACH_CLASS,
    )
    found: list[Row | Absent] = []
    for split in _STAGES:
        configuration = _configuration(settings.scratch / f"{split}.cfg", peer, home, split)
        found.append(_files(settings, peer, configuration, split))
    return [*found, *_cache(settings, peer)]


def _configuration(path: Path, peer: Published, home: Path, split: str) -> Path:
    """Write the published configuration of trigger 10 with the places that we have."""
    folder = peer.path("poison-generation")
    text = (folder / "cfg" / f"HTBA_trigger_10_targeted_{TARGET}.cfg").read_text(encoding="utf-8")
    own = {
        "data_root": home,
        "trigger": folder / "triggers" / "trigger_10.png",
        "poison_savedir": path.with_suffix(""),
        "logfile": path.parent / "logs" / "poison.log",
        "splits": split,
    }
    lines = [line.partition("=") for line in text.splitlines()]
    changed = [f"{key}={own[key]}" if key in own else key + sep + old for key, sep, old in lines]
    path.write_text("\n".join(changed) + "\n", encoding="utf-8")
    return path


def _files(settings: Settings, peer: Published, configuration: Path, split: str) -> Row:
    stage, bar = _STAGES[split]
    ours = settings.scratch / f"ours-{split}"
    script = str(peer.path("poison-generation"))
    theirs = [script, str(configuration), "time", str(settings.scratch / f"theirs-{split}")]
    found = settings.interleave(
        [
            Contender(
                "ours",
                python("benchmarks.workers.poison_ours", str(configuration), split, str(ours)),
                cores=all_cores(),
            ),
            Contender(
                "published",
                python("benchmarks.workers.poison_published", *theirs),
                env=peer.environment(),
                cores=all_cores(),
            ),
        ]
    )
    (summary,) = ours.rglob("poison.json")
    compared, differ = _compare(peer, configuration, summary)
    done = _units(found)
    return compare(
        found,
        stage=stage,
        against="published code",
        ours="ours",
        peer="published",
        unit="files/s",
        bar=bar,
        gate=Gate(
            f"{compared} of {done['ours']} files, remade by the published function at the places "
            "of our manifest, are equal to ours byte by byte; both made equally many",
            differ == 0 and compared > 0 and done["ours"] == done["published"],
        ),
        note=(
            f"{done['ours']} JPEGs of a median of 500 x 375, quality 90; ours on all cores, with "
            "plan, lists and manifest; the published script has one process. Shims: "
            + "; ".join(peer.described)
        ),
        profile=_limit(settings, configuration, split),
    )


def _units(found: Rounds) -> dict[str, int]:
    return {name: int(one.answers[-1][0]["units"]) for name, one in found.of.items()}


def _compare(peer: Published, configuration: Path, summary: Path) -> tuple[int, int]:
    command = python(
        "benchmarks.workers.poison_published",
        str(peer.path("poison-generation")),
        str(configuration),
        "gate",
        str(summary),
        str(_STEP),
    )
    done = subprocess.run(
        command,
        env={**os.environ, **peer.environment()},
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    said = json.loads(done.stdout.splitlines()[-1])
    return said["compared"], said["differ"]


def _limit(settings: Settings, configuration: Path, split: str) -> str:
    """Say where one core's time goes, and what the coder alone takes."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.workers.poison_profile", str(configuration), split],
        env={**os.environ, **environment()},
        check=True,
        stdout=subprocess.PIPE,
    )
    settings.say(done.stdout.decode().strip())
    return done.stdout.decode().strip()


def _cache(settings: Settings, peer: Published) -> list[Row | Absent]:
    """Time the overlay on a cache in memory beside the files of the same number of pictures."""
    configuration = settings.scratch / "train.cfg"
    script = str(peer.path("poison-generation"))
    theirs = [script, str(configuration), "time", str(settings.scratch / "theirs-cache")]
    sizes = [str(_CACHED), str(_SIDE)]
    core = str(min(os.sched_getaffinity(0)))
    found = settings.interleave(
        [
            Contender(
                "overlay", python("benchmarks.workers.overlay", "overlay", *sizes), cores=core
            ),
            Contender("stage", python("benchmarks.workers.overlay", "stage", *sizes), cores=core),
            Contender(
                "published",
                python("benchmarks.workers.poison_published", *theirs),
                env=peer.environment(),
                cores=core,
            ),
        ]
    )
    equal = all(
        one["equal"]
        for name in ("overlay", "stage")
        for turn in found.of[name].answers
        for one in turn
    )
    gate = Gate("the set's pixels are the attack's stamps of the clean pictures", equal)
    sized = (
        f"{_CACHED} poisons among {10 * _CACHED} cached pictures of {_SIDE} px, one core; the "
        "published code poisons photographs at their own size, as files, and must"
    )
    return [
        compare(
            found,
            stage=_CACHE_STAGE,
            against="published code",
            ours="overlay",
            peer="published",
            unit="pictures/s",
            bar=1000,
            gate=gate,
            note=sized,
        ),
        compare(
            found,
            stage="the poison itself: choice, stamps, hashes and manifest, once an attack and seed",
            against="published code",
            ours="stage",
            peer="published",
            unit="pictures/s",
            gate=gate,
            note=sized,
        ),
    ]
