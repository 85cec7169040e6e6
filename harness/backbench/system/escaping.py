"""Words of strangers in each format: shown as they are, and never obeyed; a terminal's too.

``errors.printable`` makes them safe for a terminal, and is the first step of every other format.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from functools import lru_cache
from html import escape
from typing import Any, Final

from backbench.errors import printable

#: Characters that Markdown, or the HTML in it, would obey, addresses included.
_MARKDOWN: Final = re.compile(r"[\\`*\[\]|~]|(?<![^\W_])_|_(?![^\W_])|[<>&]|(?<=:)//|(?<=www)\.")

#: A cell without a letter, such as ``.94 ±.01 [.93, .95]~``, has nothing that is obeyed.
_NUMBERS: Final = re.compile(r"[-\s\d.,:%/+±~*°✗–<\[\]]*")

#: Characters that a spreadsheet takes for the start of a formula: OWASP, *CSV Injection*.
_FORMULA: Final = re.compile(r"[=+\-@\t\r＝＋－＠]")
_SIGNED: Final = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.ASCII | re.IGNORECASE)


def html_text(text: str) -> str:
    """Return text for HTML; line breaks are kept."""
    return escape(printable(text)).replace("\n", "<br>")


def markdown_text(text: str) -> str:
    """Return text for a line of Markdown, or for a cell of a table."""
    text = printable(text)
    if _NUMBERS.fullmatch(text):
        return text
    return _MARKDOWN.sub(_in_markdown, text)


def _in_markdown(found: re.Match[str]) -> str:
    one = found[0]
    if one in "<>&":
        return escape(one)
    return "".join(f"&#{ord(part)};" for part in one) if one in {"//", "."} else f"\\{one}"


def markdown_code(text: str) -> str:
    """Return text as code of a line of Markdown."""
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    blank = " " * (len(fence) > 1)
    return f"{fence}{blank}{printable(text)}{blank}{fence}"


def latex_text(text: str) -> str:
    """Return text for LaTeX, as tabulate returns cells."""
    from tabulate import LATEX_ESCAPE_RULES

    return "".join(LATEX_ESCAPE_RULES.get(one, one) for one in printable(text))


def csv_text(rows: Iterable[Iterable[Any]]) -> str:
    """Return rows as CSV; a text that a spreadsheet would compute begins with an apostrophe."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerows([_csv_cell(value) for value in row] for row in rows)
    return out.getvalue()


def _csv_cell(value: Any) -> Any:
    return _csv_word(value) if isinstance(value, str) else value


@lru_cache(maxsize=4096)
def _csv_word(value: str) -> str:
    """Return a text for a cell: the tables of all evaluations have the same."""
    is_formula = _FORMULA.match(value) and not _SIGNED.fullmatch(value)
    return f"'{printable(value)}" if is_formula else printable(value)
