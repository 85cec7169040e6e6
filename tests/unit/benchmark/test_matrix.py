"""The matrix of a benchmark file is counted before it is expanded."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from tests.conftest import tiny

from backbench.benchmark.config import load_benchmark
from backbench.benchmark.matrix import Filter, any_holds
from backbench.errors import ConfigError
from backbench.model import Axis, CellName
from backbench.plugin.registry import load_registry


def problems(path: Path, text: str) -> ConfigError:
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_benchmark(path, load_registry())
    return caught.value


def test_many_filters_hold_where_one_of_them_does() -> None:
    rng = np.random.default_rng(0)
    cells = [
        CellName(*names, seed)
        for *names, seed in itertools.product("ab", "ab", "ab", "a", "ab", (0, 1))
    ]
    for count in (0, 1, 3, 40):
        rules = [
            Filter(
                **{axis.plural: (None, "a", ["a", "b"], "c")[rng.integers(4)] for axis in Axis},
                seeds=(None, 0, [0, 1], 2)[rng.integers(4)],
            )
            for _ in range(count)
        ]
        holds = any_holds(rules)
        assert [holds(cell) for cell in cells] == [
            any(rule.holds(cell) for rule in rules) for cell in cells
        ]


def test_a_matrix_of_a_billion_cells_is_a_problem_with_the_limit(tmp_path: Path) -> None:
    names = [[f"{letter}{number}" for number in range(1000)] for letter in "dme"]
    tables = (("datasets", "embedded"), ("methods", "rotnet"), ("evaluators", "knn"))
    text = "".join(
        f"[{table}.{name}]\nplugin = {plugin!r}\n"
        for (table, plugin), found in zip(tables, names, strict=True)
        for name in found
    )
    text += "[[matrix]]\n" + "".join(
        f"{table} = {found}\n" for (table, _), found in zip(tables, names, strict=True)
    )
    (found,) = problems(tmp_path / "b.toml", text).problems
    assert str(found).startswith("matrix: names 1,000,000,000 cells before any is excluded, and")


def test_problems_by_the_thousand_are_counted(tmp_path: Path) -> None:
    wrong = ", ".join(f"'rotnot{number}'" for number in range(5000))
    error = problems(tmp_path / "b.toml", tiny().replace('["moco-v2", "rotnet"]', f"[{wrong}]"))
    assert len(error.problems) == 5000
    assert str(error).endswith("\n  … and 4,900 more")
    assert "did you mean 'rotnet'?" in str(error.problems[0])


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("train_per_class = 24", "train_per_class = 1_000_000_000_000"),
        ("epochs = 2", "epochs = 1_000_000_000_000"),
        ("queue = 64", "queue = 1_000_000_000"),
    ],
)
def test_a_number_that_no_machine_can_hold_is_a_problem(
    tmp_path: Path, right: str, wrong: str
) -> None:
    error = problems(tmp_path / "b.toml", tiny().replace(right, wrong))
    assert right.split(maxsplit=1)[0] in str(error)
    assert "given: 1000000000" in str(error)
