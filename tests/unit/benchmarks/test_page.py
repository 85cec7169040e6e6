"""Rows, results and the page."""

import dataclasses

import pytest


@pytest.fixture
def row():
    from benchmarks.rounds import Spread
    from benchmarks.rows import Gate, Row

    return Row(
        stage="poison files",
        against="published code",
        unit="files/s",
        ours=Spread(1234.5, 1200, 1300, 5),
        peer=Spread(123.4, 120, 130, 5),
        ratio=Spread(10.04, 9.5, 10.9, 5),
        bar=7,
        gate=Gate("equal bytes", passed=True),
        note="Small files.",
        profile="decode 1 ms\nencode 2 ms",
        flags="as shipped",
    )


METADATA = {
    "date": "2026-01-02",
    "commit": "abc",
    "minutes": 1.25,
    "rounds": 5,
    "machine": {"cores": "2"},
    "versions": {"torch": "2.15"},
}


def test_a_row_on_the_page(row):
    from benchmarks.page import page

    text = page({"poison": ([row], METADATA)})
    assert "## Poison" in text
    assert "`python -m benchmarks poison --rounds 5`, 2026-01-02, commit `abc`" in text
    assert (
        "| poison files | published code | as shipped | 1,234 files/s | 123 files/s | 5 | 10 (9.5 – 10.9) × "
        "| – | ≥ 7 × | yes | 1, 2 |"
    ) in text
    assert "\n1. Small files.\n2. Gate: equal bytes.\n" in text
    assert "decode" not in text
    assert "Not measured" not in text


def test_a_missed_bar_shows_the_profile(row):
    from benchmarks.page import page

    text = page({"poison": ([dataclasses.replace(row, bar=11, disturbed=2)], METADATA)})
    assert "| ≥ 11 × | **no** | 1, 2, 3 |" in text
    assert (
        "The bar is missed: poison files (published code). Where the time goes: decode 1 ms" in text
    )
    assert "3. 2 rounds were disturbed by other processes." in text


def test_each_note_of_a_part_is_stated_once(row):
    from benchmarks.page import page

    other = dataclasses.replace(row, against="lightly", note="Small files. Other flags.", bar=11)
    again = dataclasses.replace(row, against="kornia", bar=11)
    text = page({"poison": ([row, other, again], METADATA)})
    assert [text.count(one) for one in ("Small files.", "equal bytes.", "Other flags.")] == [
        1,
        1,
        1,
    ]
    notes = [line.split("|")[-2].strip() for line in text.splitlines() if line.startswith("| ")]
    assert notes == ["Notes", "1, 2", "1, 3, 2", "1, 2"]
    assert "missed: poison files (lightly); poison files (kornia). Where" in text


def test_rows_of_a_stage_are_together(row):
    from benchmarks.page import table

    other = dataclasses.replace(row, stage="views")
    flags = dataclasses.replace(row, flags="free flags")
    lines = table([row, other, flags])[1:]
    assert [line[0] for line in lines] == ["poison files", "", "views"]
    assert [line[2] for line in lines] == ["as shipped", "free flags", "as shipped"]


def test_a_bar_from_above_without_a_peer(row):
    from benchmarks.rounds import Spread

    alone = dataclasses.replace(
        row, peer=None, ratio=None, ours=Spread(1.9, 1.8, 2.2, 5), bar=2, at_most=True
    )
    assert alone.met
    assert not dataclasses.replace(alone, bar=1.8).met
    assert dataclasses.replace(alone, bar=None).met is None


def test_a_failed_gate_is_no_number(row):
    from benchmarks.rows import Gate, GateError

    with pytest.raises(GateError, match="poison files against published code: not so: equal"):
        dataclasses.replace(row, gate=Gate("equal bytes", passed=False))


def test_results_are_read_as_written_and_what_is_missing_is_named(row, tmp_path):
    from benchmarks import results
    from benchmarks.page import page
    from benchmarks.rows import Absent

    missing = Absent("features", "lightly", "not installed")
    results.write(tmp_path / "a" / "poison.json", [missing, row], METADATA)
    assert results.read(tmp_path / "a" / "poison.json") == ([row, missing], METADATA)
    assert "| features | lightly | not installed |" in page({"x": ([missing], METADATA)})


def test_a_table_of_a_part_stands_below_its_rows(row, tmp_path):
    from benchmarks import results
    from benchmarks.page import page
    from benchmarks.rows import Table

    more = Table(["Operation", "Size"], [["show", "1,000"]], "Time ends it.")
    results.write(tmp_path / "growth.json", [row, more], METADATA)
    text = page({"growth": results.read(tmp_path / "growth.json")})
    assert text.endswith(
        "2. Gate: equal bytes.\n\n| Operation | Size |\n|---|---|\n| show | 1,000 |\n\nTime ends it.\n"
    )


def test_what_breaks_first_follows_from_the_last_two_sizes():
    from benchmarks.parts.growth import Curve, Point, what_breaks_first

    def curve(name, of, sizes, seconds, mib):
        points = [Point(n, [s], [m], [m]) for n, s, m in zip(sizes, seconds, mib, strict=True)]
        return Curve(name, of, points)

    show = curve("show", "encoders", [1, 10, 100], [0.5, 1, 10], [1, 1, 1.9])
    knn = curve("k-NN", "images", [10, 1000], [1, 1], [10, 1000])
    poison = curve("poison", "images", [10, 1000], [1, 100], [10, 10])
    assert show.power(2) == pytest.approx(1)
    text = what_breaks_first({one.name: one for one in (show, knn, poison)})
    assert "`show` is the first that takes a minute, at about 600" in text
    assert "16 GiB are first held by `k-NN`, at about 16,000" in text
    assert "`poison` is the first that takes an hour, at about 36,000" in text
    assert "So time ends the growth in encoders." in text
    assert "So memory ends the growth in images." in text


def test_a_peer_that_is_missing_and_edits_that_do_not_fit(tmp_path):
    from benchmarks.published import ALWAYS, Edit, PeerMissingError, checkout

    with pytest.raises(PeerMissingError, match="BACKBENCH_PUBLISHED"):
        checkout(None, tmp_path, [])
    for edit in ALWAYS:
        file = tmp_path / "theirs" / edit.file
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"before {edit.old} after")
    made = checkout(tmp_path / "theirs", tmp_path, ["numpy"])
    changed = made.path(ALWAYS[0].file).read_text()
    assert ALWAYS[0].new in changed
    assert ALWAYS[0].old not in changed
    assert ALWAYS[0].old in (tmp_path / "theirs" / ALWAYS[0].file).read_text()
    environment = made.environment("moco")
    assert environment["BACKBENCH_SHIMS"] == "numpy"
    assert environment["PYTHONPATH"].split(":")[0].endswith("benchmarks/shims")
    with pytest.raises(ValueError, match="another version"):
        checkout(tmp_path / "theirs", tmp_path, [], [Edit(ALWAYS[0].file, "gone", "", "")])


def test_the_published_procedure_adds_up():
    from benchmarks.parts.matrix import procedure_seconds

    steps = {"poison": 1, "pretrain": 10, "linear": 3, "knn": 2}
    assert procedure_seconds(steps, 5, again=False) == 32 * 11 + 16 * 5 + 16 * 5
    assert procedure_seconds(steps, 5, again=True) == 4 + 8 * 15 + 16 * 5
