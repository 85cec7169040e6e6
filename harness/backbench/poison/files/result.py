"""What is said when a dataset has been poisoned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from backbench.poison.files.layout_plan import Plan


def describe(plan: Plan, summary: Mapping[str, Any]) -> Iterator[str]:
    """Yield lines for people: the three rates of the summary, and where things are."""
    request, layout = plan.request, plan.layout
    yield (
        f"attack {request.attack.name!r} on dataset {request.dataset.name!r}, seed {request.seed}"
    )
    of_class = summary["rate_of_target_class"]
    whole = f"{summary['rate_of_dataset']:.4%} of the dataset"
    if of_class is not None:
        whole += f", {of_class:.2%} of class {summary['target_name']!r}"
    yield f"rate: {summary['poisons']:,} of {len(plan.train):,} training images, {whole}"
    for part in plan.parts:
        stamped, clean = (
            sum(len(g.indices) for g in plan.groups if g.part == part and g.stamped == wanted)
            for wanted in (True, False)
        )
        kinds = [f"{stamped:,} triggered"] if stamped else []
        kinds += [f"{clean:,} clean"] if clean else []
        yield f"{part}: {' and '.join(kinds)} images in {layout.images[part]}"
        yield f"  list {layout.lists[part]}"
        if stamped:
            yield f"  manifest {layout.manifests[part]}"
    yield f"look at {layout.sheet}; all in {layout.summary}"
