"""A whole mini-matrix beside the published procedure, one cell at a time."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path
from typing import Any, Final

from PIL import Image

from backbench.data.embedded_drawing import render_split
from benchmarks.published import Edit, PeerMissingError, Published, checkout
from benchmarks.rounds import ROOT, Contender, Measured, Rounds, all_cores, cores_of, python
from benchmarks.rows import Absent, Gate, Row, Settings, compare

_FILE: Final = ROOT / "benchmarks" / "mini-matrix.toml"
_STAGE: Final = "whole mini-matrix, 32 cells"
_PEERS: Final = (
    "published procedure, one cell at a time",
    "published procedure, encoders, students and poison reused by hand",
)
#: Cells, and distinct poisons, encoders and evaluations by each of two evaluators.
_CELLS: Final = 32
_POISONS: Final = 4
_ENCODERS: Final = 8
_DISTILLED: Final = 16

_WHY: Final = "images of 32 px instead of 224 in transforms"
_EDITS: Final = (
    Edit("moco/main_moco.py", "RandomResizedCrop(224", "RandomResizedCrop(32", _WHY),
    Edit("moco/eval_linear.py", "RandomResizedCrop(224", "RandomResizedCrop(32", _WHY),
    *(
        Edit(file, old, new, _WHY)
        for file in (
            "moco/eval_linear.py",
            "moco/eval_knn.py",
            "poison-generation/generate_poison.py",
        )
        for old, new in (("Resize(256)", "Resize(32)"), ("CenterCrop(224)", "CenterCrop(32)"))
    ),
)


def rows(settings: Settings) -> list[Row | Absent]:
    """Time the matrix, and each step of the published procedure, in the same rounds."""
    shims = ["numpy", "cuda", "gloo", "faiss", "show", "plots"]
    try:
        peer = checkout(settings.published, settings.scratch, shims, _EDITS)
    except PeerMissingError as error:
        return [Absent(_STAGE, against, str(error)) for against in _PEERS]
    tables = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    data = settings.scratch / "matrix"
    _images(data, peer, tables["datasets"]["drawn"])
    method = tables["methods"]["moco-v2"]
    sizes = [str(method["epochs"]), str(method["batch_size"])]
    cores = all_cores()
    found = settings.interleave(
        [
            Contender(
                "ours",
                python(
                    "benchmarks.workers.matrix_ours", str(_FILE), str(settings.scratch / "store")
                ),
                cores=cores,
            ),
            Contender(
                "published",
                python("benchmarks.workers.matrix_published", str(peer.folder), str(data), *sizes),
                env=peer.environment(OMP_NUM_THREADS=str(len(cores_of(cores)))),
                cores=cores,
            ),
        ]
    )
    return [
        _row(found, peer, against, again=again, bar=bar)
        for against, again, bar in zip(_PEERS, (False, True), (5.0, None), strict=True)
    ]


def _images(data: Path, peer: Published, options: dict[str, Any]) -> None:
    """Write the drawn world as JPEGs with lists, under class ids that the published code knows.

    The last class is the last of ImageNet-100, so that its confusion matrices have all classes.
    """
    names = peer.path("moco", "imagenet100_classes.txt").read_text(encoding="utf-8").split()
    known = sorted(names)
    classes = [*known[: options["classes"] - 1], known[-1]]
    for split in ("train", "val"):
        pixels, labels = render_split(
            split,
            classes=options["classes"],
            per_class=options[f"{split}_per_class"],
            size=options["size"],
            seed=0,
        )
        lines = []
        for number, (image, label) in enumerate(zip(pixels, labels.tolist(), strict=True)):
            file = data / split / classes[label] / f"{number:05d}.JPEG"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(file, quality=95)
            lines.append(f"{file} {known.index(classes[label])}\n")
        (data / f"{split}.txt").write_text("".join(lines), encoding="utf-8")
    template = next(peer.path("poison-generation", "cfg").glob("*.cfg")).read_text(encoding="utf-8")
    own = {
        "data_root": data,
        "trigger": peer.path("poison-generation", "triggers", "trigger_10.png"),
        "poison_savedir": data / "out" / "poison",
        "logfile": data / "out" / "logs" / "poison.log",
        "target_wnid": classes[0],
        "watermark_width": 8,
    }
    fields = [line.partition("=") for line in template.splitlines()]
    changed = [f"{key}={own[key]}" if key in own else key + sep + old for key, sep, old in fields]
    (data / "poison.cfg").write_text("\n".join(changed) + "\n", encoding="utf-8")


def procedure_seconds(steps: dict[str, float], distill: float, *, again: bool) -> float:
    """Return how long the published procedure takes for all cells.

    Args:
        steps: Seconds of ``poison``, ``pretrain``, ``linear`` and ``knn``, each once.
        distill: Seconds of a defense.
        again: Whether what cells share is made once; otherwise each cell begins with its poison.
    """
    evaluations = _CELLS / 2 * (steps["linear"] + steps["knn"])
    if again:
        poisons = _POISONS * steps["poison"]
        return poisons + _ENCODERS * (steps["pretrain"] + distill) + evaluations
    each = steps["poison"] + steps["pretrain"]
    return _CELLS * each + _DISTILLED * distill + evaluations


def _row(found: Rounds, peer: Published, against: str, *, again: bool, bar: float | None) -> Row:
    """Make a row of the matrix and of the procedure's steps times how often it does each."""
    ours, steps = found.of["ours"], found.of["published"]
    seconds = []
    for (our,), (their,) in zip(ours.answers, steps.answers, strict=True):
        count, total = our["stages"]["repair"]
        cores = len(cores_of(all_cores()))
        distill = total / count / cores
        seconds.append(procedure_seconds(their["steps"], distill, again=again))
    whole = Measured(
        "published", [1 / one for one in seconds], seconds, seconds, [0.0] * len(seconds)
    )
    both = Rounds({"ours": ours, "published": whole}, found.disturbed)
    evaluated = min(our["stages"]["predict"][0] for (our,) in ours.answers)
    tables = {their["tables"] for (their,) in steps.answers}
    last = steps.answers[-1][0]["steps"]
    row = compare(
        both,
        stage=_STAGE,
        against=against,
        ours="ours",
        peer="published",
        unit="matrices/s",
        bar=bar,
        gate=Gate(
            "all cells are evaluated; each published step succeeded and wrote its table of classes "
            "for both evaluators (the gates of the other parts test that results agree)",
            evaluated >= _CELLS and tables == {3},
        ),
        note=(
            "`benchmarks/mini-matrix.toml`; ours is the whole `backbench run` into an empty store, "
            "with the clean encoders of its controls, which the peer's time does not include. Each "
            "step of the published procedure runs once per round as its script, start included ("
            + ", ".join(f"{key} {one:.1f} s" for key, one in last.items())
            + "), and counts as often as the procedure needs it. The procedure has no defense: its "
            "time includes ours, on all cores. BYOL counts as MoCo v2, which takes half as many "
            "forward passes. Shims: " + "; ".join(peer.described)
        ),
    )
    return dataclasses.replace(row, cpu_ratio=None)
