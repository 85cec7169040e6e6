"""What a stranger's bundle asks to be computed is bounded before it is computed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from backbench.model import Plan, Stage, StageKind
from backbench.store.records import Record
from backbench.verification.bundle import TOML, open_bundle
from backbench.verification.bundle_check import verify_bundle
from backbench.verification.evidence import parse_json
from backbench.verification.plan_check import plan_differences
from tests.factories import record
from tests.unit.verification.test_bundle import contents, written


def names(start: str, count: int) -> str:
    return json.dumps([f"{start}{number}" for number in range(count)])


def matrix(count: int, methods: str) -> str:
    return (
        f"[[matrix]]\ndatasets = {names('d', count)}\nattacks = {names('a', count)}\n"
        f"methods = {methods}\nevaluators = 'knn'\n"
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (matrix(2000, names("m", 2000)), "names 8,000,000,000 cells"),
        (matrix(100, "'m'") * 21, "names 210,000 cells"),
        (".".join("a" * 100_000) + " = 1", "more than 32 parts"),
        ("[" + ".".join(["'a'"] * 100) + "]", "more than 32 parts"),
        ("# " + "x" * (1 << 20), "at most are read"),
        ("x = " + 5000 * "[", "nested too deeply"),
        ("[benchmark]\nname = '" + "x" * 300 + "'\n" + matrix(1, "'m'"), "not that of plan.json"),
    ],
)
def test_a_benchmark_file_that_would_expand_without_end(
    tmp_path: Path, text: str, reason: str
) -> None:
    with open_bundle(written(tmp_path / "b.zip", contents(**{TOML: text}))) as bundle:
        (found,) = (one for one in verify_bundle(bundle).differs if one.subject == TOML)
    assert reason in str(found)


def test_thousands_of_rules_leave_out_cells_as_one_does(tmp_path: Path) -> None:
    rules = "".join(f"[[matrix.exclude]]\ndatasets = 'x{number}'\n" for number in range(5000))
    files = contents(**{TOML: "benchmark.name = 'b'\n" + matrix(300, "'m'") + rules})
    with open_bundle(written(tmp_path / "b.zip", files)) as bundle:
        (found,) = (one for one in verify_bundle(bundle).differs if one.subject == TOML)
    assert "its matrix does not give the 0 cells" in str(found)


def stages(count: int) -> dict[str, Stage]:
    """Return stages each of which reads the one before."""
    read = ({"features": str(number - 1)} if number else {} for number in range(count))
    return {
        str(number): Stage(StageKind.FEATURES, None, None, inputs)
        for number, inputs in enumerate(read)
    }


def test_a_chain_of_stages_without_end() -> None:
    assert list(plan_differences(Plan("b", stages(100), ()))) == []
    (found,) = plan_differences(Plan("b", stages(30_000), ()))
    assert "needs more than 100 stages before it" in found


def test_stages_that_read_each_other() -> None:
    circle = stages(3) | {"0": Stage(StageKind.FEATURES, None, None, {"features": "2"})}
    (found,) = plan_differences(Plan("b", circle, ()))
    assert "reads the features 2, which is not before it in the plan" in found


@pytest.mark.parametrize(
    "content",
    [b"[" + b"[]," * 3_000_000 + b"[]]", b'"' + b" " * 2**27 + b'"', b"NaN", b"-Infinity"],
)
def test_json_that_is_not_read(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"is not read|not finite"):
        parse_json(content)


@pytest.mark.parametrize(
    "changed",
    [
        {"files": {"../../../etc/passwd": {"bytes": 1, "sha256": "0" * 64}}},
        {"files": {"/etc/passwd": {"bytes": 1, "sha256": "0" * 64}}},
        {"files": {"a\\..\\b": {"bytes": 1, "sha256": "0" * 64}}},
        {"files": {"\x1b[2J": {"bytes": 1, "sha256": "0" * 64}}},
        {"files": {"a": {"bytes": -1, "sha256": "0" * 64}}},
        {"files": {"a": {"bytes": 1, "sha256": "0"}}},
        {"files": {"a": [1]}},
        {"wall_s": float("inf")},
        {"peak_mem_gib": None},
        {"outdated": "by a stranger"},
    ],
)
def test_a_record_with_values_that_we_do_not_write(changed: dict[str, Any]) -> None:
    content = record(stage=StageKind.FEATURES).to_json()
    assert Record.from_json(content).key
    with pytest.raises((ValueError, KeyError)):
        Record.from_json(content | changed)
