"""The tables and the figure of results in the pages: ``python -m benchmarks.tables``.

Rows are kept in ``docs/results/data/<name>.json``, so that pages can be made, and checked, without
a store. With ``--store`` the rows of the named tables are read from that store first.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill
from typing import Any

from backbench.model import NONE
from backbench.report.numbers import whole
from backbench.results.statistics import Summary
from benchmarks.rounds import ROOT

#: Where rows are kept.
DATA = ROOT / "docs" / "results" / "data"

#: The figure of the quick profile.
FIGURE = ROOT / "docs" / "images" / "quick.svg"

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Table:
    """A table of results in a page.

    Args:
        page: The page, from the root of the checkout.
        arguments: Of ``backbench``: what prints the rows or, of claims, the text.
        short_of: The table that it shows in short: accuracy and ASR alone, of the rows with an
            attack and without a defense.
    """

    page: str
    arguments: tuple[str, ...] = ()
    short_of: str = ""


_CIFAR10 = ("benchmarks/cifar10.toml",)

#: Rows without a detector, which changes no prediction.
_NO_VERDICT = ("--filter", "defense!=decree")

#: The tables that this module writes, by name.
TABLES = {
    "quick": Table("README.md", ("show", "--profile", "quick", "--filter", "evaluator=linear")),
    "linear": Table("docs/results/embedded.md", ("show", "--filter", "evaluator=linear")),
    "knn": Table("docs/results/embedded.md", ("show", "--filter", "evaluator=knn")),
    "claims": Table("docs/results/claims.md", ("claims",)),
    "second-look": Table("docs/results/claims.md", ("claims", "benchmarks/second-look.toml")),
    "cifar10": Table("README.md", short_of="cifar10-linear"),
    "cifar10-linear": Table(
        "docs/results/cifar10.md", ("show", *_CIFAR10, "--filter", "evaluator=linear", *_NO_VERDICT)
    ),
    "cifar10-knn": Table(
        "docs/results/cifar10.md", ("show", *_CIFAR10, "--filter", "evaluator=knn:k=20")
    ),
    "cifar10-claims": Table("docs/results/cifar10.md", ("claims", *_CIFAR10)),
}

#: Exit codes of ``backbench claims`` where a claim fails, or is undecided.
_VERDICTS = (1, 3)

#: Heading, metric, group of numbers in a row, digits after the point.
_COLUMNS = (
    ("Acc", "accuracy/clean", "metrics", 3),
    ("Acc trig.", "accuracy/triggered", "metrics", 3),
    ("control", "accuracy/triggered", "controls", 3),
    ("FP", "target_fp/clean", "metrics", 0),
    ("FP trig.", "target_fp/triggered", "metrics", 0),
    ("control", "target_fp/triggered", "controls", 0),
    ("ASR", "asr", "metrics", 3),
    ("control", "asr", "controls", 3),
)

_SHORT = {"accuracy/clean", "asr"}
_METRICS = {metric for _, metric, *_ in _COLUMNS}


def markdown(rows: Rows, *, short: bool = False) -> str:
    """Return the rows of a leaderboard as a table in Markdown."""
    columns = [column for column in _COLUMNS if not short or column[1] in _SHORT]
    if short:
        rows = [row for row in rows if row["attack"] != NONE and row["defense"] == NONE]
    head = ["Method", "Attack", "Defense", *(heading for heading, *_ in columns)]
    lines = [head, ["---"] * 3 + ["--:"] * len(columns)]
    for row in rows:
        names = [row["method"], row["attack"], row["defense"]]
        lines.append(names + [_number(row[of].get(metric), n) for _, metric, of, n in columns])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _number(found: Mapping[str, Any] | None, decimals: int) -> str:
    if found is None:
        return "–"
    interval = found["ci95"]
    summary = Summary(
        n=found["n"],
        mean=found["mean"],
        std=found["std"],
        ci95=None if interval is None else (interval[0], interval[1]),
        over=found["over"],
        values=tuple(found["values"]),
    )
    return whole(summary, decimals)


def figure(rows: Rows) -> str:
    """Return an SVG: the attack success rate of each undefended method beside its control."""
    attacked = [row for row in rows if "asr" in row["metrics"] and row["defense"] == "none"]
    left, wide, bar = 90, 420, 16
    style = (
        "text{font:13px sans-serif;fill:#57606a}.a{fill:#cf222e}.c{fill:#8c959f}"
        "@media(prefers-color-scheme:dark){text{fill:#9ea7b3}.a{fill:#f0635c}.c{fill:#6e7681}}"
    )
    body = [
        f'<rect class="a" x="{left}" y="4" width="12" height="12"/>',
        f'<text x="{left + 18}" y="15">poisoned encoder</text>',
        f'<rect class="c" x="{left + 150}" y="4" width="12" height="12"/>',
        f'<text x="{left + 168}" y="15">control: clean encoder, same trigger</text>',
    ]
    for index, row in enumerate(attacked):
        top = 34 + index * (2 * bar + 16)
        body.append(
            f'<text x="{left - 10}" y="{top + bar + 5}" text-anchor="end">{row["method"]}</text>'
        )
        for line, (of, color) in enumerate((("metrics", "a"), ("controls", "c"))):
            found = row[of]["asr"]
            length, y = round(wide * found["mean"], 1), top + line * bar
            body += [
                f'<rect class="{color}" x="{left}" y="{y}" width="{length}" height="{bar - 2}"/>',
                f'<text x="{left + length + 6}" y="{y + bar - 4}">{_number(found, 3)}</text>',
            ]
    height = 34 + len(attacked) * (2 * bar + 16)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="600" height="{height}" '
        f'viewBox="0 0 600 {height}" role="img">\n<title>Attack success rate (linear evaluation)'
        f"</title>\n<style>{style}</style>\n"
    )
    return head + "\n".join(body) + "\n</svg>\n"


def insert(text: str, name: str, body: str) -> str:
    """Return a page with a table between its markers.

    Raises:
        ValueError: If the page does not have the markers exactly once.
    """
    pattern = rf"(<!-- table: {re.escape(name)} -->\n).*?(\n<!-- /table -->)"
    made, found = re.subn(
        pattern, lambda match: f"{match[1]}\n{body}\n{match[2]}", text, flags=re.DOTALL
    )
    if found != 1:
        raise ValueError(f"table: {name}: {found} pairs of markers instead of 1")
    return made


def caption(data: Mapping[str, Any]) -> str:
    """Return where the rows of a table come from."""
    made = f"commit {', '.join(data['commits'])}, {', '.join(data['processors'])}"
    return fill(f"`{data['command']}`, {made}", 100, break_long_words=False, break_on_hyphens=False)


def rendered(name: str, data: Mapping[str, Any]) -> str:
    """Return what a page holds between the markers of a table: the table and its source."""
    table = data.get("text") or markdown(data["rows"], short=bool(TABLES[name].short_of))
    return f"{table}\n\n{caption(data)}"


def kept() -> dict[str, Mapping[str, Any]]:
    """Return the data of all tables that have some, by name."""
    found = {name: DATA / f"{table.short_of or name}.json" for name, table in TABLES.items()}
    return {
        name: json.loads(path.read_text(encoding="utf-8"))
        for name, path in found.items()
        if path.is_file()
    }


def collect(name: str, store: Path, changes: Sequence[str] = ()) -> dict[str, Any]:
    """Return the data of a table from a store, with changes of its benchmark file.

    Raises:
        ValueError: If the store lacks a number of a row.
    """
    arguments = TABLES[name].arguments
    style = "markdown" if arguments[0] == "claims" else "json"
    options = ["--format", style, "--store", str(store.absolute())]
    options += [part for change in changes for part in ("--set", change)]
    answer = subprocess.run(
        [sys.executable, "-m", "backbench", *arguments, *options],
        cwd=ROOT,
        capture_output=True,
        check=False,
        text=True,
    )
    if answer.returncode not in {0, *_VERDICTS}:
        raise ValueError(f"{name}: {answer.stderr.strip()}")
    records = [json.loads(path.read_text()) for path in sorted((store / "records").glob("*.json"))]
    made = [record["provenance"] for record in records]
    source = {
        "command": " ".join(["backbench", *arguments]),
        "commits": sorted({(one["commit"] or "unknown")[:7] for one in made}),
        "processors": sorted({one["processor"] for one in made}),
    }
    if style == "markdown":
        return {**source, "text": answer.stdout.strip()}
    rows = json.loads(answer.stdout)["rows"]
    if missing := [row for row in rows if not row["complete"]]:
        raise ValueError(f"{name}: {len(missing)} of {len(rows)} rows are not complete in {store}")
    return {**source, "rows": [_shown(row) for row in rows]}


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the columns show of a row."""
    names = {key: row[key] for key in ("method", "attack", "defense", "evaluator")}
    numbers = {
        of: {metric: found for metric, found in row[of].items() if metric in _METRICS}
        for of in ("metrics", "controls")
    }
    return {**names, **numbers}


def write() -> None:
    """Write all tables that have data, and the figure, into the pages."""
    for name, data in kept().items():
        page = ROOT / TABLES[name].page
        text = page.read_text(encoding="utf-8")
        page.write_text(insert(text, name, rendered(name, data)), encoding="utf-8")
        if name == "quick":
            FIGURE.write_text(figure(data["rows"]), encoding="utf-8")


def main() -> int:
    """Run the command; 1 if the store lacks rows of a table that is asked for."""
    parser = argparse.ArgumentParser(description="Write the tables of results into the pages.")
    parser.add_argument("names", nargs="*", metavar="TABLE", help=f"of {', '.join(TABLES)}")
    parser.add_argument("--store", type=Path, help="read the named tables from it first")
    parser.add_argument("--set", action="append", default=[], help="as of backbench; repeatable")
    given = parser.parse_args()
    if unknown := set(given.names) - set(TABLES):
        parser.error(f"no such table: {', '.join(sorted(unknown))}; there are {', '.join(TABLES)}")
    names = given.names or ["quick"] if given.store else []
    for name in dict.fromkeys(TABLES[name].short_of or name for name in names):
        try:
            data = collect(name, given.store, given.set)
        except ValueError as error:
            print(f"benchmarks.tables: {error}", file=sys.stderr)
            return 1
        path = DATA / f"{name}.json"
        path.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    write()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
