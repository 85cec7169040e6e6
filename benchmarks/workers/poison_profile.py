"""Where one core's time goes in a poison file, ms; argv: configuration, split."""

from __future__ import annotations

import io
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from backbench.plugin.registry import load_registry
from backbench.poison.files.planning import make_plan
from backbench.poison.files.request import read_request
from backbench.poison.manifest import changed_rows, pixel_hashes

_FILES = 200


def main() -> None:
    """Print the coder's part, the stamp's and the hashes', and the rates that they allow."""
    given = {"out": Path("unused"), "splits": sys.argv[2]}
    plan = make_plan(read_request(Path(sys.argv[1]), given, load_registry()))
    (group,) = (one for one in plan.groups if one.stamped)
    parts = dict.fromkeys(
        ("read and decode", "resize", "encode", "stamp", "hashes before and after"), 0.0
    )
    for index in group.indices[:_FILES]:
        path = group.images.image(index)
        start = time.perf_counter()
        with Image.open(path) as image:  # type: ignore[arg-type]
            image.load()
            made = image.convert("RGB")
        decoded = time.perf_counter()
        square = group.images.square
        if square is not None:
            scale = square.short_side / min(made.size)
            size = (round(made.width * scale), round(made.height * scale))
            left, top = ((one - square.side) // 2 for one in size)
            box = (left, top, left + square.side, top + square.side)
            made = made.resize(size, Image.Resampling.BILINEAR).crop(box)
        resized = time.perf_counter()
        made.save(io.BytesIO(), "JPEG", quality=75)
        encoded = time.perf_counter()
        begin = time.perf_counter()
        before = np.asarray(made)
        after = plan.attack.stamp(before, np.random.default_rng(index), group.images.split)
        rows = changed_rows(before, after.pixels)
        stamped = time.perf_counter()
        pixel_hashes(before, after.pixels, rows.start)
        end = time.perf_counter()
        times = (
            decoded - start,
            resized - decoded,
            encoded - resized,
            stamped - begin,
            end - stamped,
        )
        for name, seconds in zip(parts, times, strict=True):
            parts[name] += seconds / _FILES * 1000
    coder = sum(parts[name] for name in ("read and decode", "resize", "encode"))
    said = ", ".join(f"{name} {ms:.2f} ms" for name, ms in parts.items())
    print(
        f"one file on one core: {said}. Pillow's own work alone allows {1000 / coder:.0f} files/s "
        f"a core, with stamp and hashes {1000 / sum(parts.values()):.0f}; the rest is writing, the "
        "manifest, and starting the processes. Another encoder cannot help: the bytes must be "
        "Pillow's, and the hashes those of the manifest"
    )


main()
