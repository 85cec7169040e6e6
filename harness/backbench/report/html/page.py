"""One self-contained page: no network, no framework, readable without scripts."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from backbench.errors import printable
from backbench.model import Axis
from backbench.report.html import MOST_FIGURES
from backbench.report.html.cells import cell_sections, groups_of, options_of, table_drawings
from backbench.report.html.leaderboard import leaderboard_tables
from backbench.report.html.sections import claims_of, sections_of
from backbench.report.html.source import Source
from backbench.report.tables import latex, markdown
from backbench.store.records import Record
from backbench.system.arithmetic import standard_arithmetic
from backbench.verification.bundle_check import CANNOT_PROVE


@dataclass(frozen=True, slots=True)
class SiteLinks:
    """Addresses that a page in a site links to.

    Args:
        index: Address of the index.
        bundle: Address of the bundle that the page is of.
    """

    index: str
    bundle: str


def page_of(
    source: Source, *, most_figures: int = MOST_FIGURES, site: SiteLinks | None = None
) -> str:
    """Return the page of a store or a bundle as HTML.

    Args:
        source: What it is of.
        most_figures: So many cells get figures.
        site: Where it stands in a site.
    """
    records = source.records()
    groups, links = groups_of(source)
    with standard_arithmetic():
        cells, shared = cell_sections(source, groups, records, most_figures)
        drawings, missing = table_drawings(source) if most_figures else ([], [])
    return render(
        "page.html.j2",
        title=source.board.benchmark,
        source=source,
        site=site,
        about=_about(source, records),
        tables=leaderboard_tables(source.board, links, is_main=True),
        copies=[("LaTeX", latex(source.board)), ("Markdown", markdown(source.board))],
        claims=claims_of(source.claims),
        sections=list(sections_of(source, records)),
        drawings=drawings,
        missing=missing,
        cells=cells,
        options=options_of(records.values()),
        shared=shared,
        cannot_prove=CANNOT_PROVE,
    )


def _about(source: Source, records: Mapping[str, Record]) -> list[tuple[str, str]]:
    """Return what a page says of itself at its head."""
    rows, plan = source.board.rows, source.plan
    done = sum(cell.evaluation in records for cell in plan.cells)
    finished = max((record.finished for record in records.values()), default="")
    about = [("cells", f"{done} of {len(plan.cells)}")]
    about += [("seeds", str(len({cell.name.seed for cell in plan.cells})))]
    for axis in Axis:
        values = {row.names[axis] for row in rows}
        if len(values) == 1:
            (only,) = values
            about += [(axis.value, only)] * (axis is not Axis.DOWNSTREAM)
        elif len(values) > 1:
            about.append((f"{axis.plural}", str(len(values))))
    about.append(("protocol", plan.protocol or "none"))
    about.append(("last stage", finished[:16].replace("T", " ")))
    return [pair for pair in about if pair[1]]


def render(template: str, **content: Any) -> str:
    """Return a page of a template, with the style and the script inside."""
    style, script = asset("style.css"), asset("script.js")
    rules = (
        "default-src 'none'",
        "img-src data:",
        f"style-src {_hash_of(style)}",
        f"script-src {_hash_of(script)}",
        "base-uri 'none'",
        "form-action 'none'",
    )
    return (
        _environment()
        .get_template(template)
        .render(**content, style=style, script=script, policy="; ".join(rules))
    )


@cache
def asset(name: str) -> Markup:
    """Return a file of the page's own."""
    file = resources.files(__package__).joinpath("assets", name)
    return Markup(file.read_text(encoding="utf-8"))  # noqa: S704 - ours


def _hash_of(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
    return f"'sha256-{digest}'"


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader(__package__, "templates"),
        autoescape=True,
        finalize=_safe,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _safe(value: Any) -> Any:
    """Show characters that no page should have, of a stranger's text, as escapes."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value
