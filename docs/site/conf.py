"""Sphinx's settings. ``docs/site/build.py`` makes the source folder."""

from __future__ import annotations

from importlib.metadata import version as version_of
from typing import Any

project = "backbench"
copyright = "the backbench authors"  # noqa: A001
version = release = version_of("backbench")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 4
highlight_language = "text"
smartquotes = False

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
napoleon_google_docstring = True
napoleon_numpy_docstring = False

html_theme = "furo"
html_title = "backbench"
html_copy_source = False
html_show_sourcelink = False


def _mark_sources(
    _app: object, _what: str, _name: str, _one: object, _opt: object, lines: list[str]
) -> None:
    """Make paragraphs of ``Source: …`` and ``Differs: …``, which continue on indented lines."""
    found: list[str] = []
    inside = False
    for line in lines:
        word, colon, rest = line.partition(": ")
        if colon and word in {"Source", "Differs"}:
            found += ["", f"**{word}:** {rest}"]
            inside = True
        else:
            inside = inside and line.startswith(" ")
            found.append(line.lstrip() if inside else line)
    lines[:] = found


def setup(app: Any) -> None:
    """Register what Sphinx calls; napoleon's own handler comes later."""
    app.connect("autodoc-process-docstring", _mark_sources, priority=400)
