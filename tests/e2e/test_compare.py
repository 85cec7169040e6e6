"""Compare on a store that is made by hand: no encoder is trained."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from backbench import load
from backbench.benchmark.planning import plan_of
from backbench.store.metadata import EvaluationRecord
from backbench.store.predictions import write_predictions
from backbench.store.store import Store
from tests.conftest import Bench, tiny
from tests.factories import record

LABELS = np.arange(200) % 4


def finish(file: Path, root: Path, rates: dict[str, float]) -> None:
    """Write the evaluations of all cells: how often each method falls for the trigger."""
    benchmark = load(file).benchmark
    store = Store(root)
    store.prepare()
    plan = plan_of(benchmark, store, keep_hashes=False)
    keys = {cell.evaluation: cell.name for cell in plan.cells}
    keys |= {cell.control: cell.name for cell in plan.cells if cell.control}
    for number, (key, name) in enumerate(keys.items()):
        rng = np.random.default_rng(number)
        stage = plan.stages[key]
        poisoned = any(cell.evaluation == key for cell in plan.cells)
        falls = rng.random(200) < (rates[name.method] if poisoned else 0.02)
        clean = np.where(rng.random(200) < 0.9, LABELS, (LABELS + 1) % 4)
        tensors = {"labels": LABELS, "clean_predictions": clean.astype(np.int32)}
        triggered = np.where(falls, 0, clean) if name.attack != "none" else None
        if triggered is not None:
            tensors["triggered_predictions"] = triggered.astype(np.int32)
        target = 0 if triggered is not None else None
        with store.writing(key) as folder:
            write_predictions(folder / "predictions.npz", tensors)
            made = record(
                key,
                stage,
                metadata=EvaluationRecord(target, 200, 4),
            )
            store.publish(folder, made)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compared")
    file = folder / "three.toml"
    file.write_text(tiny().replace("seeds = [0]", "seeds = [0, 1, 2]"), encoding="utf-8")
    (folder / "one.toml").write_text(tiny(), encoding="utf-8")
    finish(file, folder / "old", {"moco-v2": 0.5, "rotnet": 0.05})
    finish(file, folder / "new", {"moco-v2": 0.8, "rotnet": 0.05})
    return folder


def test_two_methods(finished: Path, bench: Bench) -> None:
    file, store = str(finished / "three.toml"), str(finished / "old")
    sides = ["method=moco-v2", "method=rotnet"]
    text = bench("compare", *sides, file, "--store", store, "--filter", "attack!=none")
    text.assert_ok()
    assert "method=moco-v2 less method=rotnet" in text.out
    assert "corrected for all 12 comparisons" in " ".join(text.out.split())
    done = bench("compare", *sides, file, "--store", store, "--metric", "asr", "--format", "json")
    content = json.loads(done.assert_ok().out)
    assert {one["metric"] for one in content["comparisons"]} == {"asr"}
    for one in content["comparisons"]:
        assert one["difference"]["over"] == "seeds and images"
        assert 0.3 < one["difference"]["mean"] < 0.6
        assert one["p"] <= one["p_holm"] < 0.1
    text = bench("compare", *sides, file, "--store", store, "--format", "markdown").assert_ok()
    assert text.out.count("| accuracy/clean") == 8


def test_two_equal_stores(finished: Path, bench: Bench) -> None:
    file, store = str(finished / "three.toml"), str(finished / "old")
    done = bench(
        "compare", file, "--store", store, "--against", store, "--fail-on", "asr > 0",
        "--format", "json",
    )  # fmt: skip
    content = json.loads(done.assert_ok().out)
    assert content["exceeded"] == []
    assert all(one["p"] == pytest.approx(1) for one in content["comparisons"])


def test_a_worse_store_fails(finished: Path, bench: Bench) -> None:
    file, old, new = (str(finished / name) for name in ("three.toml", "old", "new"))
    limit = ["--fail-on", "asr > +0.02", "--fail-on", "accuracy/clean < -0.05"]
    done = bench("compare", file, "--store", new, "--against", old, *limit)
    assert done.code == 1
    told = [line for line in done.err.splitlines() if "exceeds" in line]
    assert len(told) == 4
    assert all("asr of drawn · moco-v2 · targeted" in line for line in told)
    assert "'asr > +0.02' beyond doubt: the difference is ." in told[0]
    bench("compare", file, "--store", old, "--against", new, *limit).assert_ok()


def test_a_row_that_one_store_lacks_passes_no_limit(finished: Path, bench: Bench) -> None:
    """The worse rows of the new store are filtered away, those of the old one are not."""
    file, old, new = (str(finished / name) for name in ("three.toml", "old", "new"))
    sides = ["compare", file, "--store", new, "--against", old, "--filter", "asr<0.6"]
    done = bench(*sides).assert_ok()
    assert "numbers of one side not compared: accuracy/clean of drawn · moco-v2" in done.err
    done = bench(*sides, "--fail-on", "asr > +0.02")
    assert done.code == 2
    assert "· linear is only in B, as are 3 others, and cannot be compared" in " ".join(
        done.err.split()
    )
    assert "rotnet" in done.out


def test_one_seed_is_not_tested(finished: Path, bench: Bench) -> None:
    file, store = str(finished / "one.toml"), str(finished / "old")
    sides = ["method=moco-v2", "method=rotnet", file, "--store", store]
    done = bench("compare", *sides).assert_ok()
    assert "have one seed in common and cannot be tested" in done.err
    done = bench("compare", *sides, "--fail-on", "asr > 0.9")
    assert done.code == 2
    assert "cannot be tested: run at least two, better three" in done.err
    assert "A - B" in done.out  # what was found is shown all the same


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "name two sides"),
        (["method=byol"], "name two sides"),
        (["method=moco-v2", "rotnet"], "is no side"),
        (["method=moco-v2", "method=rot"], "no method is called 'rot'"),
        (["method=moco-v2", "method=rotnet", "--fail-on", "asr"], "write METRIC > NUMBER"),
        (["method=moco-v2", "method=rotnet", "--metric", "assr"], "did you mean 'asr'"),
        (["method=moco-v2", "--against", "."], "either two sides, or --against"),
    ],
)
def test_wrong_sides_are_one_sentence(
    finished: Path, bench: Bench, words: list[str], sentence: str
) -> None:
    done = bench("compare", *words, str(finished / "three.toml"), "--store", str(finished / "old"))
    assert done.code == 2
    assert sentence in done.err
    assert "Traceback" not in done.err


def test_the_leaderboard_folds_attacks(finished: Path, bench: Bench) -> None:
    file, store = str(finished / "three.toml"), str(finished / "old")
    done = bench("show", file, "--store", store, "--over", "attacks", "--format", "json")
    rows = json.loads(done.assert_ok().out)["rows"]
    assert {row["attack"] for row in rows} == {"1 attack"}
    shown = bench("show", file, "--store", store, "--sort", "-asr_lift").assert_ok()
    assert "Student's t" in shown.out
