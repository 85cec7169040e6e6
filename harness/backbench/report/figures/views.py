"""The views that a method sees of poisoned images: made by the method, from the run's seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from backbench.images import Pixels
from backbench.model import Cell
from backbench.plugin import Box
from backbench.report.figures.canvas import number, short
from backbench.report.figures.encoders import encoders_of, training_of
from backbench.report.figures.figure import Figure, Missing
from backbench.report.figures.images import NO_IMAGES, UNREADABLE, task_of, why
from backbench.report.figures.opened import Opened
from backbench.report.figures.tiles import Tile, sheet
from backbench.stages.inputs import Inputs

if TYPE_CHECKING:
    from torch import Tensor

TITLE = "Views that the method sees"

#: Number of images, greatest number of views of each, and of batches that are looked through.
MOST: Final = 4
MOST_VIEWS: Final = 9
_BATCHES: Final = 8


def view_figure(
    seen: Sequence[tuple[Pixels, Sequence[Box], Sequence[Pixels]]],
    method: str,
    shares: Mapping[str, float] | None,
) -> Figure:
    """Draw images, each with its views.

    Args:
        seen: Images, the boxes of their triggers, and their views.
        method: Name of the method.
        shares: Share of the view pairs with the trigger in both views, one, none; ``None`` where
            that is not known.
    """
    count = max(len(views) for _, _, views in seen)
    grid = [[Tile(image, boxes=boxes), *map(Tile, views)] for image, boxes, views in seen]
    heads = ["image", *(f"view {at + 1}" for at in range(count))]
    is_poisoned = any(boxes for _, boxes, _ in seen)
    kind = "Poisoned training images" if is_poisoned else "Training images"
    visible = ""
    if shares is not None:
        parts = ", ".join(f"{name} {share:.3f}" for name, share in shares.items())
        visible = (
            f" Trigger visibility, the share of view pairs with at least half of its area: {parts}."
        )
    return Figure(
        "views",
        TITLE,
        f"{kind} and the {count} views of each in the first epoch, as {method} makes them from the "
        f"seed of the run.{visible}",
        sheet(grid, heads),
        "image/svg+xml",
        f"{len(seen)} training images with {count} views each by {method}.{visible}",
        ("trigger in", "share of view pairs") if shares else (),
        tuple((name, number(share)) for name, share in (shares or {}).items()),
    )


def view_figures(opened: Opened, cell: Cell) -> Iterator[Figure | Missing]:
    """Yield the views of the training of a cell's encoder."""
    training = training_of(opened, encoders_of(opened, cell).own)
    if training is None:
        yield Missing(TITLE, "The encoder was trained elsewhere.")
        return
    if opened.store is None:
        yield Missing(TITLE, NO_IMAGES)
        return
    try:
        yield opened.once(("views", training), lambda: _of(opened, training))
    except UNREADABLE as error:
        yield Missing(TITLE, why(error))


def _of(opened: Opened, key: str) -> Figure | Missing:
    from backbench.poison.manifest import read_manifest

    stage = opened.plan.stages[key]
    task = task_of(opened, stage)
    inputs = Inputs(task)
    boxes: dict[int, tuple[Box, ...]] = {}
    if task.has("poison"):
        manifest = read_manifest(task.input("poison") / "train.jsonl")
        boxes = {mark.index: mark.boxes for mark in manifest}
    if task.has("sanitize"):
        boxes = {}  # images were dropped: positions in the training set are others
    indices, views = _views(inputs, np.array([*boxes], dtype=np.int64))
    images = inputs.poisoned_train
    seen = []
    for row, index in enumerate(indices.tolist()):
        image = images.image(index)
        fits = all(
            one.x + one.width <= image.shape[1] and one.y + one.height <= image.shape[0]
            for one in boxes.get(index, ())
        )
        seen.append((image, boxes.get(index, ()) if fits else (), views[row]))
    if not seen or not seen[0][2]:
        return Missing(TITLE, "The method's views are no images.")
    use, guard = stage.plugin, stage.guard
    method = short(use.name if use else "the method", 40)
    if guard is not None:
        method += f" with {short(guard.name, 40)}"
    shares = _visibility(inputs) if boxes and guard is None else None
    return view_figure(seen, method, shares)


def _visibility(inputs: Inputs) -> Mapping[str, float] | None:
    from backbench.stages.checks import visibility_of

    _, options, _ = inputs.task.plugin()
    found = visibility_of(inputs, options)
    return (
        None
        if found is None
        else dict(zip(("both views", "one view", "no view"), found, strict=True))
    )


def _views(
    inputs: Inputs, poisons: NDArray[np.int64]
) -> tuple[NDArray[np.int64], list[list[Pixels]]]:
    """Return the indices of some images of the first epoch, poisons if any, and their views."""
    import torch

    from backbench.seeds import derive
    from backbench.stages.defender import Request
    from backbench.stages.pretrain import guard_of
    from backbench.training.loop import TrainingRun, seeded
    from backbench.views.batches import open_source

    task = inputs.task
    method, options, _ = task.plugin()
    device = torch.device("cpu")
    run = TrainingRun(options, inputs.poisoned_train, task.seed, "cpu")
    guard = guard_of(inputs, Request())
    with seeded(derive(task.seed, "training"), device), open_source(run.images, device) as source:
        built = method(options, run.context())
        if guard is not None:
            built = guard(built)
        built.train()
        best = None
        for batch in islice(run.batches(source, 0), _BATCHES):
            wanted = np.flatnonzero(np.isin(batch.indices, poisons))
            if best is None or len(wanted) > len(best[1]):
                best = batch, wanted
            if not len(poisons) or len(wanted) >= MOST:
                break
        if best is None:
            return np.empty(0, np.int64), []
        batch, wanted = best
        rows = (wanted if len(wanted) else np.arange(len(batch)))[:MOST]
        with torch.no_grad():
            made = built.views(batch)
    return batch.indices[rows], by_image(made, len(batch), rows)


def by_image(made: Any, count: int, rows: NDArray[np.int64]) -> list[list[Pixels]]:
    """Return the views of some images of a batch: image tensors of B views each, in their order."""
    found: list[list[Pixels]] = [[] for _ in rows]
    for tensor in _images(made):
        for first in range(0, len(tensor) // count * count, count):
            for views, row in zip(found, rows.tolist(), strict=True):
                view = tensor[first + row].float().clamp(0, 1).mul(255).round().byte()
                views.append(view.permute(1, 2, 0).cpu().numpy())
    return [views[:MOST_VIEWS] for views in found]


def _images(made: Any) -> Iterator[Tensor]:
    """Yield all tensors of images, (N, 3, H, W), in what a method calls its views."""
    if isinstance(made, list | tuple):
        for one in made:
            yield from _images(one)
    elif isinstance(made, dict):
        yield from _images(list(made.values()))
    elif getattr(made, "ndim", 0) == 4 and made.shape[1] == 3:
        yield made
