"""LaTeX tables, compiled: needs pdflatex and booktabs (Debian: texlive-latex-recommended)."""

from __future__ import annotations

import io
import shutil
import subprocess
from pathlib import Path

import pytest
from rich.console import Console

from backbench.model import Axis
from backbench.report.defenses import trade_off_sheet
from backbench.report.sheet import print_sheet
from backbench.report.tables import latex
from backbench.results.leaderboard import COLUMNS, Leaderboard, Reported, Row
from backbench.results.statistics import summarize
from backbench.store.flags import Raised
from tests import factories

PDFLATEX = shutil.which("pdflatex")

#: What a name may hold that LaTeX obeys, or has no glyph for.
NASTY = "[a_b]{%$#&~^\\input{x} 50 % <b> – ±"


def has_booktabs() -> bool:
    found = shutil.which("kpsewhich")
    if found is None:
        return False
    asked = subprocess.run([found, "booktabs.sty"], capture_output=True, check=False)
    return asked.returncode == 0


pytestmark = pytest.mark.skipif(
    PDFLATEX is None or not has_booktabs(), reason="needs pdflatex and booktabs"
)


def row(**more: str) -> Row:
    names = {axis.value: "none" for axis in Axis} | {"method": "byol", "evaluator": "knn"}
    asr = {"accuracy/clean": summarize([0.9, 0.8]), "asr": summarize([0.4, 0.6, 0.5])}
    controls = {"asr": summarize([0.1, 0.1, 0.2])}
    return Row({**names, **more}, (0, 1, 2), 3, asr, controls, {})


def compiled(text: str, folder: Path) -> str:
    """Compile a table as its documentation says; return the log, without an error."""
    lines = (r"\documentclass{article}", r"\usepackage{booktabs}", r"\begin{document}")
    document = "\n".join((*lines, text, r"\end{document}"))
    (folder / "table.tex").write_text(document, encoding="utf-8")
    command = [PDFLATEX, "-interaction=nonstopmode", "-halt-on-error", "table.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    log = (folder / "table.log").read_text(encoding="utf-8", errors="replace")
    assert done.returncode == 0, log[-2000:]
    return log


def test_a_leaderboard_with_every_mark_compiles(tmp_path: Path) -> None:
    marked = Row(
        {axis.value: NASTY for axis in Axis},
        (0,),
        2,
        {"accuracy/clean": summarize([0.5]), "asr": summarize([0.5])},
        {},
        {},
        flags=(Raised(NASTY, NASTY, NASTY),),
        reported={"asr": Reported(0.4, NASTY, NASTY)},
        external=True,
        outdated=NASTY,
        origin=NASTY,
        protocol=NASTY,
        problem=NASTY,
        uncontrolled=1,
    )
    board = Leaderboard(NASTY, COLUMNS, (row(attack="patch"), marked), rescored=NASTY)
    assert "Missing character" not in compiled(latex(board), tmp_path)


def test_a_table_of_defenses_compiles(tmp_path: Path) -> None:
    asr = {"asr": (0.4, 0.6, 0.5)}
    rows = factories.row(asr), factories.row(asr, defense="a_b")
    sheet = trade_off_sheet(Leaderboard("bench", COLUMNS, rows, rescored=NASTY))
    out = io.StringIO()
    print_sheet(sheet, "latex", Console(file=out))
    assert "Missing character" not in compiled(out.getvalue(), tmp_path)
