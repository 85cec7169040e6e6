"""Features of an encoder: folded batch norms and bf16 against the published code and lightly."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
from safetensors.numpy import load_file

from benchmarks import published, published_eval
from benchmarks.rounds import Contender, Rounds, python
from benchmarks.rows import Absent, Gate, Row, Settings, compare
from benchmarks.world import CORE, SPLITS, World, images, make_world

SIDE, TRAIN, VAL = 64, 80, 20
#: Of an encoder that has been trained for longer than the one that is timed, in epochs of 400.
LONGER = 10
STAGE = "feature extraction, ResNet-18 at 64 px, one core"
#: The error that is wanted, and what float32 may have.
WANTED, SAME = 0.01, 1e-4
NOTE = (
    f"{10 * (TRAIN + VAL)} images, from an encoder on disk to features on disk. The peers read "
    "PNG files, in float32 and batches of 64, without loader processes; ours reads its cache."
)

PROFILE = (
    "Nine tenths of the time are convolutions, whose weights and maps are bfloat16, and matrix "
    "products where maps are of 2 x 2 pixels. Sums and ReLU are a twentieth."
)


def rows(settings: Settings) -> list[Row | Absent]:
    """Measure."""
    world = make_world(
        settings.scratch / "features", size=SIDE, train=TRAIN, val=VAL, epochs=1, seeds=1
    )
    one_thread = {"OMP_NUM_THREADS": "1"}
    ours = python("benchmarks.workers.evaluation_ours", str(world.folder), "features")
    contenders = [Contender("ours", ours, env=one_thread, cores=CORE)]
    settings.say("the error of bfloat16")
    longer = make_world(
        settings.scratch / "features-longer", size=SIDE, train=40, val=VAL, epochs=LONGER, seeds=1
    )
    exact, short, long = _features(world, "fp32"), _errors(world), _errors(longer)
    said = (
        "Relative error of bfloat16, of features of length 1 (of autocast on the unchanged "
        f"network): after 1 epoch {short[0]:.4f} ({short[1]:.4f}), after {LONGER} epochs of half "
        f"as many images {long[0]:.4f} ({long[1]:.4f})."
    )
    if (most := max(short[0], long[0])) > WANTED:
        said += (
            f" The bar of {WANTED} is not met: {most:.4f}. Rounding only the weights gives "
            f"{_error_of_weights(longer):.4f} after {LONGER} epochs; rounding the maps gives the "
            "rest."
        )
    rounding = all(own <= max(1.1 * other, SAME) for own, other in (short, long))
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
        made = [_row(found, one.name, exact, rounding, said) for one in contenders[1:]] + made
    return made


def _row(found: Rounds, peer: str, exact: Mapping[str, Any], rounding: bool, said: str) -> Row:  # noqa: FBT001
    theirs = np.load(found.of[peer].answers[-1][0]["file"])
    timed = load_file(found.of["ours"].answers[-1][0]["file"])
    same = max(_error(exact[split], theirs[split]) for split in exact)
    error = max(_error(_unit(timed[split]), theirs[split]) for split in exact)
    return compare(
        found,
        stage=STAGE,
        against=peer,
        ours="ours",
        peer=peer,
        unit="images/s",
        gate=Gate(
            f"the peer's features in float32 (relative error at most {SAME}), and in bfloat16 an "
            "error not above that of autocast on the unchanged network",
            same <= SAME and rounding,
        ),
        bar=2.4,
        note=f"{NOTE} Relative error: float32 {same:.0e}, as timed {error:.4f}. {said}",
        profile=PROFILE,
    )


def _features(
    world: World, precision: Literal["auto", "fp32"], *, fold: bool = True
) -> dict[str, Any]:
    """Return the first encoder's features of both splits, each of length 1."""
    from backbench.nn import load_encoder
    from backbench.training.extraction import extract, for_evaluation

    encoder = load_encoder(world.store.artifact(world.encoders[0].key))
    if fold:
        encoder = for_evaluation(encoder, "cpu", precision)
    return {
        split: _unit(extract(encoder, images(world, split), device="cpu", precision=precision))
        for split in SPLITS[:2]
    }


def _errors(world: World) -> tuple[float, float]:
    """Return the relative errors of what is timed, and of autocast on the unchanged network."""
    exact = _features(world, "fp32", fold=False)
    own, plain = (_features(world, "auto", fold=fold) for fold in (True, False))
    return (
        max(_error(own[split], exact[split]) for split in exact),
        max(_error(plain[split], exact[split]) for split in exact),
    )


def _error_of_weights(world: World) -> float:
    """Return the relative error of features in float32 if only weights are rounded to bfloat16."""
    import torch

    from backbench.nn import load_encoder
    from backbench.training.extraction import extract, for_evaluation

    encoder = load_encoder(world.store.artifact(world.encoders[0].key))
    exact, rounded = (for_evaluation(encoder, "cpu", "fp32") for _ in range(2))
    for module in rounded.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.weight.data = module.weight.data.bfloat16().float()
    found, expected = (
        _unit(extract(one, images(world, "val"), device="cpu", precision="fp32"))
        for one in (rounded, exact)
    )
    return _error(found, expected)


def _unit(features: Any) -> Any:
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def _error(features: Any, others: Any) -> float:
    return float(np.linalg.norm(features - others) / np.linalg.norm(others))
