"""The published poison generator; argv: its folder, configuration, what to do.

``time FOLDER`` times the whole of it. ``gate SUMMARY STEP`` makes some pictures of ours with its
function, at the places of our manifest, and compares the files' bytes.
"""

from __future__ import annotations

import io
import json
import os
import random  # noqa: TID251 - what the published code draws from
import runpy
import shutil
import sys
import time
from pathlib import Path
from typing import Any

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
        x, y = line["boxes"][0][:2]
        places = iter((x, y))
        random.randint = lambda *_, _places=places: next(_places)
        made = script["add_watermark"](
            str(Path(known["data_root"], split, line["source"].removeprefix(f"{split}/"))),
            known["trigger"],
            text=False,
            position="random",
            location_min=known[f"{kind}_location_min"],
            location_max=known[f"{kind}_location_max"],
            watermark_width=known["watermark_width"],
            alpha_composite=True,
            alpha=known[f"{kind}_alpha"],
            val=val,
        )
        picture = made if val else made[0]
        file = io.BytesIO()
        picture.save(file, "JPEG")
        differ += file.getvalue() != (folder / line["file"]).read_bytes()
    return {"compared": len(lines), "differ": differ}


if TASK == "time":
    serve(prepare, timed)
else:
    print(json.dumps(gate(prepare(), Path(ARGUMENT), int(*MORE))))
