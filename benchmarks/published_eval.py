"""The published evaluations in small images: the edits of the scratch copy."""

from __future__ import annotations

from benchmarks.published import Edit
from benchmarks.world import CLASSES

LINEAR, KNN = "moco/eval_linear.py", "moco/eval_knn.py"


def smaller(file: str, side: int) -> list[Edit]:
    """Return edits that let a script evaluate images of a world.

    Args:
        file: :data:`LINEAR` or :data:`KNN`.
        side: Of the images.
    """
    sizes = f"images are {side} pixels wide, as they come, instead of 256 cut to 224"
    own = "mean and deviation of the encoder's input are the world's"
    edits = [
        Edit(file, "Resize(256)", f"Resize({side})", sizes),
        Edit(file, "CenterCrop(224)", f"CenterCrop({side})", sizes),
        Edit(file, "mean=[0.485, 0.456, 0.406]", "mean=[0.5, 0.5, 0.5]", own),
        Edit(file, "std=[0.229, 0.224, 0.225]", "std=[0.25, 0.25, 0.25]", own),
    ]
    if file == LINEAR:
        classes = f"{CLASSES} classes instead of 100"
        edits += [
            Edit(file, "RandomResizedCrop(224)", f"RandomResizedCrop({side})", sizes),
            Edit(
                file,
                "get_channels(args.arch), 100)",
                f"get_channels(args.arch), {CLASSES})",
                classes,
            ),
            Edit(file, "np.zeros((100, 100))", f"np.zeros(({CLASSES}, {CLASSES}))", classes),
            Edit(file, "range(100)", f"range({CLASSES})", classes),
        ]
    return edits
