"""Linear evaluation: features once, or eight cached views, against the published 40 epochs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from math import isfinite
from statistics import mean, stdev

from benchmarks import published, published_eval
from benchmarks.rounds import Contender, environment, python
from benchmarks.rows import Absent, Gate, Row, Settings, compare
from benchmarks.world import CORE, World, make_world

SIDE = 64
#: Images of each of ten classes: ImageNet-100 has 25 training images for one that is tested.
TRAIN, VAL = 30, 3

#: What is compared: six encoders, on so many images of a class that a hundredth is several.
GATE = {"size": 32, "train": 60, "val": 100, "epochs": 6, "seeds": 3}
ACCURACY, ASR = 0.005, 0.01

OURS = {"center features": "linear", "8 cached views": "linear-cached"}
STAGE = "linear evaluation, {}, ResNet-18 at 64 px, one core"
NOTE = (
    f"{10 * TRAIN} training, {10 * VAL} validation and as many triggered images; the whole "
    "evaluation of one encoder: features, 40 epochs, predictions, tables. The published code reads "
    "PNG files, without loader processes; ours reads its cache."
)


def rows(settings: Settings) -> list[Row | Absent]:
    """Measure."""
    try:
        plain, small = (
            published.checkout(
                settings.published, settings.scratch, ["cuda", "seed"],
                published_eval.smaller(published_eval.LINEAR, side),
            )
            for side in (SIDE, GATE["size"])
        )  # fmt: skip
    except published.PeerMissingError as error:
        return [Absent(STAGE.format(name), "published code", str(error)) for name in OURS]
    settings.say("encoders to compare results on")
    gates, found = _gates(settings, small)
    world = make_world(
        settings.scratch / "linear-64", size=SIDE, train=TRAIN, val=VAL, epochs=1, seeds=1
    )
    measured = settings.interleave(
        [
            *(_ours(world, name, evaluator) for name, evaluator in OURS.items()),
            _theirs(world, "published", plain),
        ]
    )
    return [
        compare(
            measured,
            stage=STAGE.format(name),
            against="published code",
            flags="as shipped",
            ours=name,
            peer="published",
            unit="evaluations/s",
            gate=gates[name],
            bar=bar,
            note=f"{NOTE} {found[name]}",
        )
        for name, bar in (("center features", 80.0), ("8 cached views", 11.0))
    ]


def _ours(world: World, name: str, evaluator: str) -> Contender:
    command = python("benchmarks.workers.evaluation_ours", str(world.folder), evaluator)
    return Contender(name, command, env={"OMP_NUM_THREADS": "1"}, cores=CORE)


def _theirs(world: World, name: str, code: published.Published) -> Contender:
    command = python(
        "benchmarks.workers.linear_published", str(code.path("moco")), str(world.folder), "0"
    )
    env = code.environment("moco", OMP_NUM_THREADS="1", BACKBENCH_SEED="0")
    return Contender(name, command, env=env, cores=CORE)


def _gates(settings: Settings, code: published.Published) -> tuple[dict[str, Gate], dict[str, str]]:
    """Compare accuracy and ASR of the trained encoders; return gates, and what was found."""
    world = make_world(settings.scratch / "linear-gate", **GATE)
    theirs = _published_numbers(world, code)
    gates, texts = {}, {}
    for name, evaluator in OURS.items():
        ours = _our_numbers(world, evaluator)
        accuracy = [ours[one]["accuracy"] - theirs[one]["accuracy"] for one in sorted(theirs)]
        asr = [ours[one]["asr"] - theirs[one]["asr"] for one in sorted(theirs)]
        means = mean(accuracy), mean(asr)
        texts[name] = (
            f"On {len(accuracy)} encoders, ours minus the published code's, mean ± standard "
            f"deviation (range): accuracy {_spread(accuracy)}, ASR {_spread(asr)}."
        )
        near = abs(means[0]) <= ACCURACY and abs(means[1]) <= ASR
        if evaluator == "linear-cached":
            gates[name] = Gate(
                f"mean difference of {len(accuracy)} encoders at most {ACCURACY} in accuracy and "
                f"{ASR} in ASR",
                near,
            )
        else:
            # Whole images are another training set than crops.
            texts[name] += " It fits on whole images, not on crops: another probe."
            if not near:
                texts[name] += (
                    f" The bar of parity, {ACCURACY} in accuracy and {ASR} in ASR, is not met."
                )
            gates[name] = Gate(
                f"{len(accuracy)} encoders evaluated by both; the numbers need not be equal",
                all(map(isfinite, (*accuracy, *asr))),
            )
        settings.say(f"{name}: {texts[name]}")
    return gates, texts


def _spread(numbers: list[float]) -> str:
    middle = f"{mean(numbers):+.4f} ± {stdev(numbers):.4f}"
    return f"{middle} ({min(numbers):+.4f} … {max(numbers):+.4f})"


def _published_numbers(world: World, code: published.Published) -> dict[str, dict[str, float]]:
    """Evaluate every encoder with the published code, on two cores if there are."""
    few = world.list_file("val").read_text(encoding="utf-8").splitlines(keepends=True)[:10]
    world.list_file("few").write_text("".join(few), encoding="utf-8")
    numbers = [str(one) for one in range(len(world.encoders))]
    running = []
    for part in range(2):
        file = world.folder / f"published-{part}.json"
        arguments = [str(code.path("moco")), str(world.folder), "gate", str(file)]
        command = python("benchmarks.workers.linear_published", *arguments, *numbers[part::2])
        env = code.environment("moco", OMP_NUM_THREADS="1", BACKBENCH_SEED=str(part))
        log = world.folder / f"published-{part}.log"
        with log.open("w") as messages:
            process = subprocess.Popen(
                command, env={**os.environ, **env}, stdout=messages, stderr=messages
            )
        running.append((process, file, log))
    found: dict[str, dict[str, float]] = {}
    for process, file, log in running:
        if process.wait():
            raise RuntimeError(f"the published code failed:\n{log.read_text()[-3000:]}")
        found |= json.loads(file.read_text(encoding="utf-8"))
    return found


def _our_numbers(world: World, evaluator: str) -> dict[str, dict[str, float]]:
    code = (
        "import json, sys, torch; torch.set_num_threads(1)\n"
        "from pathlib import Path\n"
        "from benchmarks.workers.evaluation_ours import evaluate\n"
        "from benchmarks.world import open_world\n"
        "world = open_world(Path(sys.argv[1]))\n"
        "found = {n: evaluate(world, sys.argv[2], n) for n in range(len(world.encoders))}\n"
        "print(json.dumps(found))\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code, str(world.folder), evaluator],
        env={**os.environ, **environment(), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        check=True,
        text=True,
    )
    numbers: dict[str, dict[str, float]] = json.loads(answer.stdout.splitlines()[-1])
    return numbers
