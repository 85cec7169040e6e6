"""Sheets of images: every image is there, in order, with its boxes and words."""

from __future__ import annotations

import base64
import io
import re
from xml.etree import ElementTree as ET

import numpy as np
from PIL import Image

from backbench.plugin import Box
from backbench.report.figures.tiles import Tile, sheet

SVG = "{http://www.w3.org/2000/svg}"


def image(value: int, side: int = 8) -> np.ndarray:
    return np.full((side, side, 3), value, dtype=np.uint8)


def atlas(file: bytes) -> np.ndarray:
    data = re.search(rb"base64,([^\"]+)", file)[1]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))


def test_a_sheet_shows_each_image_once_and_leaves_gaps() -> None:
    rows = [
        [Tile(image(10), "a"), None],
        [Tile(image(20)), Tile(image(30), boxes=[Box(1, 2, 3, 4)])],
    ]
    file = sheet(rows, ["left", "right"], ["one", "two"])
    assert sheet(rows, ["left", "right"], ["one", "two"]) == file
    root = ET.fromstring(file)
    views = [one.get("viewBox") for one in root.iter(f"{SVG}svg")][1:]
    assert views == ["1 1 8 8", "1 11 8 8", "1 21 8 8"]
    assert atlas(file)[[5, 15, 25], 5, 0].tolist() == [10, 20, 30]
    words = [one.text for one in root.iter(f"{SVG}text")]
    assert words == ["left", "right", "one", "a", "two"]
    outlines = [one for one in root.iter(f"{SVG}rect") if one.get("stroke") != "#ffffff"]
    scale = float(list(root.iter(f"{SVG}svg"))[3].get("width")) / 8
    assert float(outlines[0].get("width")) == round(3 * scale + 2, 1)


def test_a_large_image_is_kept_small_and_a_native_one_is_shown_as_it_is() -> None:
    file = sheet([[Tile(image(9, 200)), Tile(image(7, 20), native=True)]], kept=40)
    large, small = list(ET.fromstring(file).iter(f"{SVG}svg"))[1:]
    assert large.get("viewBox") == "1 1 40 40"
    assert (small.get("width"), small.get("height")) == ("20", "20")


def test_the_words_of_a_stranger_are_only_shown() -> None:
    file = sheet([[Tile(image(1), "<b>&")]], names=["</svg><script>"])
    assert b"<script" not in file
    assert [one.text for one in ET.fromstring(file).iter(f"{SVG}text")] == [
        "</svg><script>",
        "<b>&",
    ]
