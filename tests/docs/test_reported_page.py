"""The page of reported figures has what the files have."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_the_page_is_that_of_the_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks.reported import PAGE, rendered
    from benchmarks.tables import insert

    page = PAGE.read_text(encoding="utf-8")
    assert insert(page, "reported", rendered()) == page, "run python -m benchmarks.reported"
