"""Results of parts, as JSON: a file for each, so that parts can be run one by one."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from benchmarks.rounds import ROOT, Spread
from benchmarks.rows import Absent, Found, Gate, Row, Table

FOLDER: Final = ROOT / "benchmarks" / "results"


def write(path: Path, rows: list[Found], metadata: dict[str, Any]) -> None:
    """Write what a part found.

    Args:
        path: The file; its folder is made.
        rows: Its rows.
        metadata: When, where, at which commit, and how long it took.
    """
    measured = [asdict(row) for row in rows if isinstance(row, Row)]
    absent = [asdict(row) for row in rows if isinstance(row, Absent)]
    tables = [asdict(row) for row in rows if isinstance(row, Table)]
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    content = {**metadata, "rows": measured, "absent": absent, "tables": tables}
    partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    partial.replace(path)


def read(path: Path) -> tuple[list[Found], dict[str, Any]]:
    """Read what a part found.

    Args:
        path: The file.

    Returns:
        Its rows, those not measured last, and its metadata.
    """
    content = json.loads(path.read_text(encoding="utf-8"))
    rows: list[Found] = [_row(one) for one in content.pop("rows")]
    rows += [Table(**one) for one in content.pop("tables", [])]
    rows += [Absent(**one) for one in content.pop("absent")]
    return rows, content


def _row(fields: dict[str, Any]) -> Row:
    spreads = {
        name: Spread(**fields[name])
        for name in ("ours", "peer", "ratio", "cpu_ratio")
        if fields[name] is not None
    }
    return Row(**{**fields, **spreads, "gate": Gate(**fields["gate"])})
