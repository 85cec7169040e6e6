"""The published poison generator; argv: its folder, configuration, what to do.

``time FOLDER`` times the whole of it. ``gate SUMMARY STEP`` makes some images of ours with its
function, at the places of our manifest, and compares the files' bytes. ``pixels FILE`` compares
pixels before any JPEG: the file has lines of image, x, y and SHA-256.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import random  # noqa: TID251 - what the published code draws from
import runpy
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.worker import serve

HOME, CONFIGURATION, TASK, ARGUMENT, *MORE = sys.argv[1:]


def prepare() -> dict[str, Any]:
    """Run the script's file without its ``main``: imports, configuration, functions."""
    os.chdir(HOME)
    sys.argv = ["generate_poison.py", CONFIGURATION]
    return runpy.run_path("generate_poison.py", run_name="generate_poison")


def timed(script: dict[str, Any]) -> dict[str, Any]:
    """Poison into a new folder; what the round before wrote goes first, untimed."""
    known = script["main"].__globals__
    known["poison_savedir"] = ARGUMENT
    for folder in (ARGUMENT, str(Path(HOME, "data"))):
        shutil.rmtree(folder, ignore_errors=True)
    start = time.perf_counter()
    script["main"]()
    seconds = time.perf_counter() - start
    done = sum(1 for path in Path(ARGUMENT).rglob("*") if path.is_file())
    return {"units": done, "seconds": seconds}


def gate(script: dict[str, Any], summary: Path, step: int) -> dict[str, int]:
    """Compare files that both made, byte by byte.

    Args:
        script: What the published file defines.
        summary: Our ``poison.json``, of one split.
        step: Every which line is compared.
    """
    known = script["main"].__globals__
    val = known["splits"] == ["val_poisoned"]
    split, kind = ("val", "val") if val else ("train", "train")
    (part,) = json.loads(summary.read_text())["parts"].values()
    folder = summary.parent / part["folder"]
    manifest = summary.parent / part["stamped"]["manifest"]
    lines = [json.loads(line) for line in manifest.read_text().splitlines()][::step]
    differ = 0
    for line in lines:
        path = Path(known["data_root"], split, line["source"].removeprefix(f"{split}/"))
        image = _made(script, path, line["boxes"][0][:2], kind)
        file = io.BytesIO()
        image.save(file, "JPEG")
        differ += file.getvalue() != (folder / line["file"]).read_bytes()
    return {"compared": len(lines), "differ": differ}


def pixels(script: dict[str, Any], file: Path) -> dict[str, int]:
    """Compare training images before any JPEG.

    Args:
        script: What the published file defines.
        file: JSON, a list of ``[image, x, y, SHA-256 of its stamped pixels]``.
    """
    lines = json.loads(file.read_text())
    differ = 0
    for path, x, y, digest in lines:
        made = np.asarray(_made(script, Path(path), (x, y), "train"))
        differ += hashlib.sha256(made.tobytes()).hexdigest() != digest
    return {"compared": len(lines), "differ": differ}


def _made(script: dict[str, Any], path: Path, corner: Sequence[int], kind: str) -> Image.Image:
    """Let the published function stamp an image at a place."""
    known = script["main"].__globals__
    places = iter(corner)
    random.randint = lambda *_: next(places)
    made = script["add_watermark"](
        str(path),
        known["trigger"],
        text=False,
        position="random",
        location_min=known[f"{kind}_location_min"],
        location_max=known[f"{kind}_location_max"],
        watermark_width=known["watermark_width"],
        alpha_composite=True,
        alpha=known[f"{kind}_alpha"],
        val=kind == "val",
    )
    image: Image.Image = made if kind == "val" else made[0]
    return image


if TASK == "time":
    serve(prepare, timed)
elif TASK == "gate":
    print(json.dumps(gate(prepare(), Path(ARGUMENT), int(*MORE))))
else:
    print(json.dumps(pixels(prepare(), Path(ARGUMENT))))
