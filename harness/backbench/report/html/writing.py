"""Write a page, or the site of several bundles."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from backbench.errors import BackbenchError, UsageError, printable
from backbench.plugin import Column
from backbench.plugin.registry import Registry
from backbench.report.html import MOST_FIGURES
from backbench.report.html.cells import groups_of
from backbench.report.html.leaderboard import leaderboard_tables
from backbench.report.html.page import SiteLinks, page_of, render
from backbench.report.html.source import Source, bundle_source
from backbench.report.html.table import Cell, Table
from backbench.results.leaderboard import Leaderboard, Row
from backbench.system import files
from backbench.verification.bundle_check import CANNOT_PROVE
from backbench.verification.findings import MALFORMED

#: Marks a folder as a site: what is in it may be replaced.
MARKER: Final = ".backbench-site"

_PAGES, _BUNDLES = "submissions", "bundles"

#: Beginning of a page, lower case: another file is not replaced.
_START: Final = b"<!doctype html>"

#: What is kept of the name of a bundle, in an address.
_ODD: Final = re.compile(r"[^A-Za-z0-9._-]+")


def write_page(source: Source, out: Path, *, most_figures: int = MOST_FIGURES) -> int:
    """Write the page of a store or a bundle; return its size in bytes.

    Raises:
        UsageError: If it cannot be written.
    """
    if out.is_file():
        with files.open_regular(out) as file:
            if file.read(len(_START)).lower() not in {b"", _START}:
                raise UsageError(f"{out}: is there, and no page: choose another name with --out")
    text = page_of(source, most_figures=most_figures)
    _write(out, text)
    return len(text.encode())


@dataclass(frozen=True, slots=True)
class Submission:
    """A bundle of a site.

    Args:
        name: Its name, which is also that of its page.
        benchmark: Name of its benchmark.
        is_verified: Nothing differs from what its records say.
        differs: Number of things that differ.
        sha256: Hash of its file.
        board: Its rows.
        links: The address of the section of each row.
    """

    name: str
    benchmark: str
    is_verified: bool
    differs: int
    sha256: str
    board: Leaderboard
    links: Sequence[str]

    @property
    def page(self) -> str:
        """Address of its page, from the index."""
        return f"{_PAGES}/{self.name}.html"


@dataclass(frozen=True, slots=True)
class Refused:
    """A file that is no bundle, or that cannot be read, and why."""

    name: str
    reason: str

    def __str__(self) -> str:
        return self.reason if self.name in self.reason else f"{self.name}: {self.reason}"


def write_site(
    registry: Registry, bundles: Sequence[Path], out: Path, *, most_figures: int = MOST_FIGURES
) -> tuple[list[Submission], list[Refused]]:
    """Write a static site: a page a bundle, an index of all rows, and how to submit.

    Args:
        registry: The installed plugins.
        bundles: The bundles.
        out: Its folder: empty, new, or an earlier site, whose pages are replaced.
        most_figures: So many cells of each page get figures.

    Returns:
        The submissions, and the files that were refused.

    Raises:
        UsageError: If the folder holds something else, or cannot be written.
    """
    submissions: list[Submission] = []
    refused: list[Refused] = []
    for path in bundles:
        if (out / _BUNDLES).resolve() in path.resolve().parents:
            raise UsageError(
                f"{path}: lies in the site itself, whose bundles are replaced: name bundles that "
                "are kept elsewhere, or choose another folder with --site"
            )
    with _prepared(out):
        for path in bundles:
            name = _name_of(path, {one.name for one in submissions})
            try:
                submissions.append(_submit(registry, path, name, out, most_figures))
            except (BackbenchError, *MALFORMED) as error:
                refused.append(Refused(path.name, printable(str(error))))
                (out / _PAGES / f"{name}.html").unlink(missing_ok=True)
        content = {"submissions": submissions, "refused": refused, "cannot_prove": CANNOT_PROVE}
        tables = _merged(submissions)
        _write(
            out / "index.html",
            render("index.html.j2", title="Leaderboard", tables=tables, **content),
        )
        _write(out / "submit.html", render("submit.html.j2", title="How to submit", **content))
    return submissions, refused


@contextmanager
def _prepared(out: Path) -> Iterator[None]:
    """Make the folder of a site, without the pages of an earlier one."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()) and not (out / MARKER).is_file():
            raise UsageError(f"{out}: holds something else: choose another folder with --site")
        (out / MARKER).touch()
        for name in (_PAGES, _BUNDLES):
            shutil.rmtree(out / name, ignore_errors=True)
            (out / name).mkdir()
        yield
    except OSError as error:
        raise UsageError(f"{out}: cannot be written ({error.strerror or error})") from error


def _name_of(path: Path, taken: set[str]) -> str:
    """Return a name for the page of a bundle that no other has."""
    stem = _ODD.sub("-", path.stem).strip("-.") or "bundle"
    name, number = stem, 2
    while name in taken:
        name, number = f"{stem}-{number}", number + 1
    return name


def _submit(registry: Registry, path: Path, name: str, out: Path, most_figures: int) -> Submission:
    site = SiteLinks("../index.html", f"../{_BUNDLES}/{name}.zip")
    with bundle_source(registry, path) as source:
        text = page_of(source, most_figures=most_figures, site=site)
        _write(out / _PAGES / f"{name}.html", text)
        _, links = groups_of(source)
    shutil.copyfile(path, out / _BUNDLES / f"{name}.zip")
    checked = source.checked
    if checked is None:
        raise TypeError("a bundle is checked when it is opened")
    differs = len(checked.found.differs)
    benchmark = source.board.benchmark
    return Submission(
        name, benchmark, checked.is_verified, differs, checked.sha256, source.board, links
    )


def _merged(submissions: Sequence[Submission]) -> list[Table]:
    """Return a table for each protocol, of the rows of all submissions; they are not ranked."""
    rows: list[Row] = []
    links: list[str] = []
    first: dict[str, list[Cell]] = {"Submission": [], "Check": []}
    columns: dict[str, Column] = {}
    for one in submissions:
        columns |= {column.metric: replace(column, best=None) for column in one.board.columns}
        for row, link in zip(one.board.rows, one.links, strict=True):
            rows.append(row)
            links.append(f"{one.page}{link}")
            first["Submission"].append(Cell(one.name, link=one.page))
            first["Check"].append(check_of(one))
    board = Leaderboard("all submissions", tuple(columns.values()), tuple(rows))
    return leaderboard_tables(board, links, is_main=True, first=first) if rows else []


def check_of(one: Submission) -> Cell:
    """Return the mark of a submission."""
    return Cell("verified", style="good") if one.is_verified else Cell("differs", style="bad")


def _write(path: Path, text: str) -> None:
    try:
        files.write(path, text)
    except OSError as error:
        why = error.strerror or error
        raise UsageError(f"{path}: cannot be written ({why}): choose another place") from error
