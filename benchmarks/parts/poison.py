"""Poison files beside the published generator, and a poisoned set made from a clean cache."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.caches import shrink, write_cache
from benchmarks.data import TARGET, imagenet100
from benchmarks.published import PeerMissingError, Published, checkout
from benchmarks.rounds import Contender, Rounds, all_cores, environment, python
from benchmarks.rows import Absent, Gate, Row, Settings, compare

#: Files of each split, so many that starting processes is no more than in a real run (ImageNet-100
#: has 1,300 + 5,000), and each which is compared byte by byte.
_TRAIN: Final = 2000
_VAL_OF_EACH_CLASS: Final = 20
_STEP: Final = 10
#: Poisoned images of each cache.
_CACHED: Final = 650
_SIDE: Final = 64

_STAGES: Final = {
    "train": ("poison files, train", 7.0),
    "val_poisoned": ("poison files, validation", 3.2),
}


@dataclass(frozen=True, slots=True)
class _Set:
    """A way from an opened clean cache to a poisoned set.

    Args:
        task: Of ``workers/overlay.py``.
        stage: What the page calls it.
        bar: Least ratio; ``None`` for none.
        note: What is included.
    """

    task: str
    stage: str
    bar: float | None
    note: str


_LAZY: Final = "no image is copied or stamped before it is read"
_SETS: Final = (
    _Set(
        "ready",
        "clean cache → training-ready set, from the attack",
        1000,
        f"Included: the choice of images and the overlay; {_LAZY}",
    ),
    _Set(
        "stored",
        "clean cache → training-ready set, from the stored poison",
        1000,
        f"Included: opening and mapping the stored poison, its index, and the overlay; {_LAZY}",
    ),
    _Set(
        "read",
        "the same from the attack, and every poisoned image read once",
        None,
        "Included in addition: every stamp, and reading all its pixels",
    ),
    _Set(
        "stored-read",
        "the same from the stored poison, and every poisoned image read once",
        None,
        "Included in addition: the mapped pages, and reading all pixels",
    ),
    _Set(
        "stage",
        "the poison itself, once per attack and seed",
        None,
        "Included: choice, stamps, hashes of all pixels and manifest",
    ),
)


@dataclass(frozen=True, slots=True)
class _Kind:
    """Images that are cached.

    Args:
        name: As the page calls them.
        home: Their files.
        width: Of the trigger, px.
    """

    name: str
    home: Path
    width: int


def rows(settings: Settings) -> list[Row | Absent]:
    """Time both splits' files and the sets from a cache."""
    stages = [*(stage for stage, _ in _STAGES.values()), *(one.stage for one in _SETS)]
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
    small = shrink(home, settings.scratch / "small", _CACHED, _SIDE)
    large = _Kind("photographs, a median of 500 x 375", home, 50)
    tiny = _Kind(f"images of {_SIDE} px", small, _SIDE // 4)
    train, *sets = _train(settings, peer, large)
    configuration = _configuration(settings.scratch, peer, home, "val_poisoned")
    files = _contenders(settings, peer, configuration, "val_poisoned")
    val = _files(settings, peer, configuration, "val_poisoned", settings.interleave(files))
    return [train, val, *sets, *_small(settings, peer, tiny)]


def _train(settings: Settings, peer: Published, kind: _Kind) -> list[Row]:
    """Time files and sets in the same rounds: the published code is the peer of both."""
    configuration = _configuration(settings.scratch, peer, kind.home, "train")
    files = _contenders(settings, peer, configuration, "train")
    found = settings.interleave([*files, *_sets(settings, peer, kind)])
    return [
        _files(settings, peer, configuration, "train", found),
        *_set_rows(settings, peer, kind, configuration, found),
    ]


def _small(settings: Settings, peer: Published, kind: _Kind) -> list[Row]:
    """Time the sets of small images beside the published code on the same images."""
    scratch = settings.scratch / "of-small"
    scratch.mkdir()
    configuration = _configuration(scratch, peer, kind.home, "train", width=kind.width)
    _, published = _contenders(settings, peer, configuration, "train")
    found = settings.interleave([published, *_sets(settings, peer, kind)])
    return _set_rows(settings, peer, kind, configuration, found)


def _configuration(
    folder: Path, peer: Published, home: Path, split: str, width: int | None = None
) -> Path:
    """Write the published configuration of trigger 10 with the paths that we have."""
    path = folder / f"{split}.cfg"
    theirs = peer.path("poison-generation")
    text = (theirs / "cfg" / f"HTBA_trigger_10_targeted_{TARGET}.cfg").read_text(encoding="utf-8")
    own = {
        "data_root": home,
        "trigger": theirs / "triggers" / "trigger_10.png",
        "poison_savedir": path.with_suffix(""),
        "logfile": path.parent / "logs" / "poison.log",
        "splits": split,
        **({} if width is None else {"watermark_width": width}),
    }
    lines = [line.partition("=") for line in text.splitlines()]
    changed = [f"{key}={own[key]}" if key in own else key + sep + old for key, sep, old in lines]
    path.write_text("\n".join(changed) + "\n", encoding="utf-8")
    return path


def _ours(settings: Settings, split: str) -> Path:
    return settings.scratch / f"ours-{split}"


def _contenders(
    settings: Settings, peer: Published, configuration: Path, split: str
) -> tuple[Contender, Contender]:
    """Return who writes files: ours, and the published script."""
    ours = ["benchmarks.workers.poison_ours", str(configuration), split]
    out = str(configuration.with_suffix(".theirs"))
    theirs = [str(peer.path("poison-generation")), str(configuration), "time", out]
    return (
        Contender("ours", python(*ours, str(_ours(settings, split))), cores=all_cores()),
        Contender(
            "published",
            python("benchmarks.workers.poison_published", *theirs),
            env=peer.environment(),
            cores=all_cores(),
        ),
    )


def _files(
    settings: Settings, peer: Published, configuration: Path, split: str, found: Rounds
) -> Row:
    stage, bar = _STAGES[split]
    (summary,) = _ours(settings, split).rglob("poison.json")
    compared, differ = _published(peer, configuration, "gate", summary, _STEP)
    done = {name: int(found.of[name].answers[-1][0]["units"]) for name in ("ours", "published")}
    return compare(
        found,
        stage=stage,
        against="published code",
        ours="ours",
        peer="published",
        unit="files/s",
        bar=bar,
        gate=Gate(
            f"{compared} of {done['ours']} files, made again by the published function at the "
            "positions of our manifest, equal ours byte by byte; both made equal numbers of files",
            differ == 0 and compared > 0 and done["ours"] == done["published"],
        ),
        note=(
            f"{done['ours']} JPEGs of a median of 500 x 375, quality 90; ours on all cores, with "
            "plan, lists and manifest; the published script has one process. Shims: "
            + "; ".join(peer.described)
        ),
        profile=_limit(settings, configuration, split),
    )


def _published(
    peer: Published, configuration: Path, task: str, *arguments: Path | int
) -> tuple[int, int]:
    """Let the published function make images again: how many it made, and how many differ."""
    command = python(
        "benchmarks.workers.poison_published",
        str(peer.path("poison-generation")),
        str(configuration),
        task,
        *map(str, arguments),
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


def _sets(settings: Settings, peer: Published, kind: _Kind) -> list[Contender]:
    """Write a cache and its poison; return who makes sets of them, each on one core."""
    trigger = peer.path("poison-generation", "triggers", "trigger_10.png")
    folder = settings.scratch / f"cache-{kind.width}"
    write_cache(kind.home, folder, _CACHED, trigger, kind.width)
    core = str(min(os.sched_getaffinity(0)))
    return [
        Contender(one.task, python("benchmarks.workers.overlay", one.task, str(folder)), cores=core)
        for one in _SETS
    ]


def _set_rows(
    settings: Settings, peer: Published, kind: _Kind, configuration: Path, found: Rounds
) -> list[Row]:
    said = {
        json.dumps(one["images"])
        for of in _SETS
        for turn in found.of[of.task].answers
        for one in turn
    }
    file = settings.scratch / f"images-{kind.width}.json"
    file.write_text(min(said), encoding="utf-8")
    compared, differ = _published(peer, configuration, "pixels", file)
    gate = Gate(
        f"{compared} of {_CACHED} poisoned images of the set, the same for all rows, equal "
        "pixel by pixel those of the published function at the same positions, before its JPEG",
        differ == 0 and compared > 0 and len(said) == 1,
    )
    return [
        compare(
            found,
            stage=f"{one.stage}: {kind.name}",
            against="published code",
            ours=one.task,
            peer="published",
            unit="images/s",
            bar=one.bar,
            gate=gate,
            note=(
                f"{_CACHED} poisons of a cache in memory, opened before. {one.note}. One core; the "
                "peer reads the same images as JPEGs and can only write JPEGs"
            ),
        )
        for one in _SETS
    ]
