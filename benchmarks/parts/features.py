"""Features of an encoder: folded batch norms and bf16 against the published code and lightly."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
from safetensors.numpy import load_file

from benchmarks import published, published_eval
from benchmarks.rounds import Contender, Rounds, python
from benchmarks.rows import Absent, Gate, Row, Settings, compare
from benchmarks.world import CORE, make_world

SIDE, TRAIN, VAL = 64, 120, 30
STAGE = "feature extraction, ResNet-18 at 64 px, one core"
#: Twice what is wanted: bfloat16 itself has .015 on these encoders, with or without folding.
ERROR, WANTED = 0.02, 0.01
NOTE = (
    f"{10 * (TRAIN + VAL)} pictures, from an encoder on disk to features on disk. The peers read "
    "PNG files, in float32 and batches of 64, without loader processes; ours its cache."
)

PROFILE = (
    f"The error is above {WANTED} on this encoder, as it is with autocast on the unfolded network: "
    "rounding the weights to bfloat16 alone makes .007, rounding what convolutions read .009. In "
    "float32 it is below 1e-5."
)


def rows(settings: Settings) -> list[Row | Absent]:
    """Measure."""
    world = make_world(
        settings.scratch / "features", size=SIDE, train=TRAIN, val=VAL, epochs=1, seeds=1
    )
    one_thread = {"OMP_NUM_THREADS": "1"}
    ours = python("benchmarks.workers.evaluation_ours", str(world.folder), "features")
    contenders = [Contender("ours", ours, env=one_thread, cores=CORE)]
    made: list[Row | Absent] = []
    peer = "benchmarks.workers.features_peer"
    try:
        code = published.checkout(
            settings.published, settings.scratch, ["cuda", "faiss", "seed"],
            published_eval.smaller(published_eval.KNN, SIDE),
        )  # fmt: skip
        command = python(peer, "published", str(code.path("moco")), str(world.folder))
        env = code.environment("moco", BACKBENCH_SEED="0", **one_thread)
        contenders.append(Contender("published code", command, env=env, cores=CORE))
    except published.PeerMissingError as error:
        made.append(Absent(STAGE, "published code", str(error)))
    if find_spec("lightly"):
        command = python(peer, "lightly", str(world.folder))
        contenders.append(Contender("lightly", command, env=one_thread, cores=CORE))
    else:
        made.append(Absent(STAGE, "lightly", "install it: pip install --group bench"))
    if len(contenders) > 1:
        found = settings.interleave(contenders)
        made = [_row(found, one.name) for one in contenders[1:]] + made
    return made


def _row(found: Rounds, peer: str) -> Row:
    error = _error(found, peer)
    return compare(
        found,
        stage=STAGE,
        against=peer,
        ours="ours",
        peer=peer,
        unit="pictures/s",
        gate=Gate(
            f"relative error of the features, scaled to length 1, at most {ERROR}", error <= ERROR
        ),
        bar=2.4,
        note=f"{NOTE} Relative error {error:.4f}.",
        profile="" if error <= WANTED else PROFILE,
    )


def _error(found: Rounds, peer: str) -> float:
    """Return the relative error of our features to the peer's, each scaled to length 1."""
    ours, theirs = (
        load_file(found.of["ours"].answers[-1][0]["file"]),
        np.load(found.of[peer].answers[-1][0]["file"]),
    )
    errors = []
    for split in ("train", "val"):
        unit = ours[split] / np.linalg.norm(ours[split], axis=1, keepdims=True)
        errors.append(np.linalg.norm(unit - theirs[split]) / np.linalg.norm(theirs[split]))
    return float(max(errors))
