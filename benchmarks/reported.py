"""The page of figures reported elsewhere: ``python -m benchmarks.reported``."""

from __future__ import annotations

from pathlib import Path

from backbench.benchmark.reported.figures import Figure, Source, reported_sources
from backbench.model import NONE
from benchmarks.tables import insert

PAGE = Path(__file__).parents[1] / "docs" / "results" / "reported.md"
_UNITS = {"percent": " %", "fraction": "", "images": " images"}


def rendered() -> str:
    """Return the table of each source."""
    return "\n\n".join(_section(source) for source in reported_sources().values())


def _section(source: Source) -> str:
    heading = f"**[{source.source}]({source.link})** ({source.kind})"
    absent = f"Not built in: {', '.join(source.not_built_in)}." if source.not_built_in else ""
    table = [
        "| attack | method | defense | reported | protocol | next to a row of ours |",
        "|---|---|---|---|---|---|",
        *map(_line, source.figures),
    ]
    return "\n\n".join(filter(None, (heading, absent, "\n".join(table))))


def _line(figure: Figure) -> str:
    values = ", ".join(
        f"`{metric}` {value:g}{_UNITS[figure.unit]}" for metric, value in figure.values.items()
    )
    defense = "–" if figure.defense == NONE else figure.defense
    row = f"`{figure.row.protocol}`, `{figure.row.evaluator}`" if figure.row else "–"
    return (
        f"| {figure.attack} | {figure.method} | {defense} | {values} | {figure.setting} | {row} |"
    )


def main() -> None:
    """Write the tables between the markers of the page."""
    text = insert(PAGE.read_text(encoding="utf-8"), "reported", rendered())
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
