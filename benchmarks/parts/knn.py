"""The k-NN stage: one search for all k against the published search for each, by faiss."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from benchmarks import published
from benchmarks.rounds import Contender, python, ratio
from benchmarks.rows import Absent, Gate, Row, Settings, compare
from benchmarks.workers.knn import IMAGES, KS
from benchmarks.world import CORE

GALLERY, QUERIES, WIDTH, CLASSES = 50_000, 2_000, 512, 100
STAGE = "k-NN stage, k = 1 and 50, clean and triggered, one core"
NOTE = (
    f"{GALLERY} random features of {WIDTH} numbers in {CLASSES} classes, {QUERIES} clean queries "
    "and as many triggered; from features on disk to confusion matrices. The published code "
    "searches on one core with the same faiss."
)

PROFILE = (
    "Both search with faiss. Ours searches twice, the published code four times; a search takes "
    "nearly as long for k = 1 as for k = 50. The two searches take {share:.0%} of our time, and "
    "the published procedure takes {most} times as long as they do: this is the limit with these "
    "neighbors. The product of queries and gallery is five sixths of a search. Blocks of other "
    "sizes are no faster. Another library's product is faster, but it rounds sums differently, and "
    "then neighbors change."
)


def rows(settings: Settings) -> list[Row | Absent]:
    """Measure."""
    try:
        code = published.checkout(
            settings.published, settings.scratch, ["cuda", "faiss", "numpy", "seed"]
        )
    except published.PeerMissingError as error:
        return [Absent(STAGE, "published code", str(error))]
    file = settings.scratch / "knn-features.safetensors"
    draw(file)
    moco = str(code.path("moco"))
    worker, one_thread = "benchmarks.workers.knn", {"OMP_NUM_THREADS": "1"}
    env = code.environment("moco", BACKBENCH_SEED="0", **one_thread)
    found = settings.interleave(
        [
            Contender("ours", python(worker, "ours", str(file)), env=one_thread, cores=CORE),
            Contender(
                "published", python(worker, "published", moco, str(file)), env=env, cores=CORE
            ),
            Contender("search", python(worker, "search", str(file)), env=one_thread, cores=CORE),
        ]
    )
    answers = {
        name: load_file(found.of[name].answers[-1][0]["file"]) for name in ("ours", "published")
    }
    share = ratio(found.of["ours"], found.of["search"]).median
    most = ratio(found.of["search"], found.of["published"]).median
    changed, ties, beyond = votes_changed(file, answers["ours"], answers["published"])
    gate = Gate(
        "no vote changed, and confusion matrices that differ only where votes tie",
        changed == 0 and beyond == 0,
    )
    return [
        compare(
            found,
            stage=STAGE,
            against="published code with faiss",
            ours="ours",
            peer="published",
            unit="stages/s",
            gate=gate,
            bar=2.2,
            profile=PROFILE.format(share=share, most=f"{most:.2f}"),
            note=f"{NOTE} {ties} of {len(IMAGES) * len(KS) * QUERIES} votes tie.",
        )
    ]


def draw(file: Path) -> None:
    """Write features of overlapping classes, of length 1."""
    rng = np.random.default_rng(0)
    centers = rng.standard_normal((CLASSES, WIDTH), dtype=np.float32)
    labels = np.arange(GALLERY) % CLASSES
    asked = np.arange(QUERIES) % CLASSES

    def features(of: Any, spread: float) -> Any:
        made = centers[of] + spread * rng.standard_normal((len(of), WIDTH), dtype=np.float32)
        return made / np.linalg.norm(made, axis=1, keepdims=True)

    tensors = {
        "train": features(labels, 4.0),
        "train_labels": labels,
        "clean": features(asked, 4.0),
        "triggered": features(asked, 8.0),
        "val_labels": asked,
    }
    save_file(tensors, file)


def votes_changed(file: Path, ours: dict[str, Any], theirs: dict[str, Any]) -> tuple[int, int, int]:
    """Count votes of ours that are not those of faiss's neighbors, counted one by one.

    Args:
        file: The features.
        ours: Shares of the votes, and confusion matrices.
        theirs: Confusion matrices.

    Returns:
        Votes that differ; queries whose vote ties; how many more predictions differ from the
        published code's, which breaks ties at random, than that.
    """
    import faiss

    from backbench.nn.knn import unit

    faiss.omp_set_num_threads(1)  # as the contenders: with more, sums are rounded otherwise
    tensors = load_file(file)
    index = faiss.IndexFlatL2(WIDTH)
    index.add(unit(tensors["train"]))  # which rounds lengths of 1 once more, as the evaluator does
    changed = ties = beyond = 0
    for images in IMAGES:
        for k in KS:
            _, nearest = index.search(unit(tensors[images]), k)
            shares, tied = ours[f"{images}-{k}"], 0
            for row, neighbors in enumerate(tensors["train_labels"][nearest]):
                votes = Counter(neighbors.tolist())
                counted = [votes.get(label, 0) for label in range(CLASSES)]
                changed += int((np.rint(shares[row] * k) != counted).any())
                tied += counted.count(max(counted)) > 1
            both = (one[f"{images}-{k}-confusion"] for one in (ours, theirs))
            moved = int(np.abs(np.subtract(*both)).sum() / 2)
            ties, beyond = ties + tied, beyond + max(0, moved - tied)
    return changed, ties, beyond
