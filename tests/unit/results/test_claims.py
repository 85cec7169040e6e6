"""Claims: what the numbers make of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from tests import factories
from tests.conftest import Bench, tiny
from tests.predictions import TARGET, predicted_store

from backbench.benchmark.config import load_benchmark
from backbench.benchmark.file import Claim
from backbench.metrics import Outcome
from backbench.model import Cell, CellName, Plan, Stage
from backbench.plugin.registry import Registry, load_registry
from backbench.results.claims import Finding, Judgement, Verdict, cells_of, decide, judge, overall
from backbench.results.compare import compare, sides
from backbench.results.leaderboard import Leaderboard
from backbench.results.reader import Measured
from backbench.results.rows import build
from backbench.results.statistics import interval_of, sample_of
from backbench.store.metadata import EvaluationRecord

SUBJECT = {"methods": "moco-v2", "attacks": "targeted", "defenses": "none", "evaluators": "linear"}


def claim(**more: object) -> Claim:
    said = {"text": "it falls", "metric": "asr", "relation": ">", "against": "control"}
    return Claim.model_validate({**said, "subject": SUBJECT, **more})


def cells(seeds: int) -> list[Cell]:
    return [
        Cell(CellName("drawn", attack, "moco-v2", defense, "linear", seed), (key,), control)
        for seed in range(seeds)
        for attack in ("none", "targeted")
        for defense in ("none", "distill")
        for key in (f"{attack}-{defense}-{seed}",)
        for control in (f"control-{defense}-{seed}" if attack != "none" else None,)
    ]


def board(cells: list[Cell], numbers: Mapping[str, Mapping[str, float]]) -> Leaderboard:
    records = {}
    for key, metrics in numbers.items():
        variants = tuple(dict.fromkeys(name.partition("@")[2] for name in metrics if "@" in name))
        made = EvaluationRecord(1, 6, 3, variants=variants)
        records[key] = factories.record(key, metrics=metrics, metadata=made)
    return factories.board(Plan("b", {}, tuple(cells)), records)


def judged(said: Claim, seeds: int, numbers: Mapping[str, Mapping[str, float]]) -> Judgement:
    return judge(said, cells(seeds), board(cells(seeds), numbers))


def metrics(values: Mapping[str, list[float]], name: str = "asr") -> dict[str, dict[str, float]]:
    return {
        f"{who}-{seed}": {name: value}
        for who, found in values.items()
        for seed, value in enumerate(found)
    }


# -- the statistic -----------------------------------------------------------------------------


def test_what_is_judged_is_paired_and_linear() -> None:
    numbers = metrics({"targeted-none": [0.5, 0.7, 0.6], "control-none": [0.1, 0.2, 0.0]})
    said = claim(factor=2.0, margin=0.05, confidence=0.9)
    (finding,) = judged(said, 3, numbers).findings
    differences = [0.5 - 0.2 - 0.05, 0.7 - 0.4 - 0.05, 0.6 - 0.0 - 0.05]
    assert finding.difference == pytest.approx(np.mean(differences))
    ends = scipy.stats.t.interval(0.9, 2, np.mean(differences), scipy.stats.sem(differences))
    assert finding.interval == pytest.approx(ends)
    assert (finding.subject, finding.against) == pytest.approx((0.6, 0.1))
    assert finding.seeds == (0, 1, 2)
    assert finding.names["method"] == "moco-v2"


@pytest.mark.parametrize(
    ("relation", "low", "high", "verdict"),
    [
        (">", 0.1, 0.2, "holds"),
        (">", 0.0, 0.2, "undecided"),
        (">=", 0.0, 0.2, "holds"),
        (">", -0.1, 0.2, "undecided"),
        (">", -0.2, -0.1, "fails"),
        (">", 0.0, 0.0, "fails"),
        (">=", 0.0, 0.0, "holds"),
        ("<", -0.2, -0.1, "holds"),
        ("<", 0.1, 0.2, "fails"),
        ("<=", -0.2, 0.0, "holds"),
        ("<=", 0.0, 0.2, "undecided"),
        ("<", 0.0, 0.2, "fails"),
    ],
)
def test_the_interval_decides(relation: str, low: float, high: float, verdict: str) -> None:
    assert decide(relation, low, high) == verdict


def test_of_true_claims_few_fail_and_of_false_ones_few_hold() -> None:
    """At the edge, where the difference is zero, each side errs in 2.5 % of repeats."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(2000):
        ends = interval_of(sample_of(dict(enumerate(rng.normal(0.0, 1.0, 3).tolist()))))
        assert ends is not None
        found.append(decide(">", *ends))
    for wrong in (Verdict.HOLDS, Verdict.FAILS):
        assert 0.015 < found.count(wrong) / 2000 < 0.035


# -- what is compared --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("against", "other"),
    [
        ("control", "control-none"),
        ("clean", "none-none"),
        ("attack=none", "none-none"),
        ("defense=distill", "targeted-distill"),
        ("attack = none, defense = distill", "none-distill"),
    ],
)
def test_what_it_is_compared_with(against: str, other: str) -> None:
    numbers = metrics({"targeted-none": [0.5, 0.6], other: [0.1, 0.21]}, "accuracy/clean")
    said = claim(against=against, metric="accuracy/clean")
    (finding,) = judged(said, 2, numbers).findings
    assert (finding.against, finding.verdict) == (pytest.approx(0.155), "holds")


def test_a_number_and_a_variant() -> None:
    numbers = metrics({"targeted-none": [0.5, 0.51]}, "asr@k=1")
    found = judged(claim(against=0.9, metric="asr@k=1"), 2, numbers)
    assert found.verdict is Verdict.FAILS
    assert found.findings[0].against == 0.9


def test_a_look_at_some_seeds_decides_nothing() -> None:
    numbers = metrics({"targeted-none": [0.5, 0.5, 0.5], "control-none": [0.0, 0.0]})
    (finding,) = judged(claim(), 3, numbers).findings
    assert (finding.seeds, finding.planned, finding.difference) == ((0, 1), 3, 0.5)
    assert finding.verdict is Verdict.UNDECIDED
    (one,) = judged(claim(), 1, numbers).findings
    assert (one.interval, one.verdict) == (None, Verdict.UNDECIDED)
    (none,) = judged(claim(), 1, {}).findings
    assert (none.subject, none.verdict) == (None, Verdict.UNDECIDED)


@pytest.mark.parametrize("relation", [">", "<", ">=", "<="])
def test_seeds_that_agree_decide_nothing(relation: str) -> None:
    """A metric without outcomes that ends at 1 is 1 for two seeds, and for others it may not be."""
    numbers = metrics({"targeted-none": [1.0, 1.0]}, "flip-rate")
    said = claim(metric="flip-rate", relation=relation, against=0.5)
    (finding,) = judged(said, 2, numbers).findings
    assert (finding.difference, finding.interval) == (0.5, None)
    assert finding.verdict is Verdict.UNDECIDED


def test_a_claim_holds_for_every_row_or_not_at_all() -> None:
    said = claim(subject={"attacks": "targeted", "defenses": ["none", "distill"]})
    numbers = metrics(
        {
            "targeted-none": [0.5, 0.6],
            "control-none": [0.1, 0.21],
            "targeted-distill": [0.1, 0.21],
            "control-distill": [0.5, 0.6],
        }
    )
    found = judged(said, 2, numbers)
    assert [one.verdict for one in found.findings] == ["holds", "fails"]
    assert found.verdict is Verdict.FAILS
    assert overall([Verdict.HOLDS, Verdict.UNDECIDED]) is Verdict.UNDECIDED
    assert overall([Verdict.HOLDS, Verdict.HOLDS]) is Verdict.HOLDS
    assert overall([]) is Verdict.UNDECIDED


# -- as compare judges -------------------------------------------------------------------------


def by_image(rates: Mapping[str, list[float]], images: int = 200) -> Leaderboard:
    """Make a leaderboard whose ``asr`` has an outcome on every image."""
    rng = np.random.default_rng(0)
    easy = rng.random(images)
    found: dict[str, Measured] = {
        f"{who}-{seed}": {
            "asr": Outcome((easy + rng.normal(0, 0.1, images) < rate).astype(np.int8), IMAGES)
        }
        for who, some in rates.items()
        for seed, rate in enumerate(some)
    }
    plan = Plan("b", {}, tuple(cells(3)))
    records = {key: factories.record(key) for key in found}
    return build(plan, records.get, {}.get, measured_of=lambda key, _: found[key])


IMAGES = np.arange(200)
RATES = {
    "targeted-none": [0.5, 0.6, 0.55],
    "control-none": [0.1, 0.12, 0.1],
    "targeted-distill": [0.3, 0.4, 0.35],
    "control-distill": [0.1, 0.1, 0.1],
}


def judged_by_image(said: Claim) -> Finding:
    (finding,) = judge(said, cells(3), by_image(RATES)).findings
    return finding


def test_a_claim_has_the_interval_of_compare() -> None:
    board = by_image(RATES)
    finding = judged_by_image(claim(against="defense=distill"))
    left, right, field = sides(board, "defense=none", "defense=distill")
    (found,) = compare(left, right, ["asr"], field)
    assert found.difference.over == "seeds and images"
    assert finding.interval == pytest.approx(found.difference.ci95)
    assert (finding.subject, finding.against) == (found.left.mean, found.right.mean)


def test_a_claim_on_a_number_has_the_interval_of_show() -> None:
    names = cells(1)[2].name.row
    row = next(row for row in by_image(RATES).rows if row.names == names)
    finding = judged_by_image(claim(against=0.2, factor=2.0, margin=0.1))
    low, high = row.values["asr"].ci95 or (0.0, 0.0)
    assert finding.interval == pytest.approx((low - 0.5, high - 0.5))
    lift = judged_by_image(claim())
    assert lift.interval == pytest.approx(row.lifts["asr"].ci95)


def test_a_factor_counts_on_every_image() -> None:
    """Where nothing falls, nothing larger than the unseen can be ruled out, the factor included."""
    nothing = dict.fromkeys(RATES, [-9.0] * 3)
    once, four = (
        judge(claim(factor=factor), cells(3), by_image(nothing)).findings[0]
        for factor in (1.0, 4.0)
    )
    assert once.interval is not None
    assert four.interval == pytest.approx(tuple(4 * end for end in once.interval))


def test_only_the_cells_of_a_claim_are_needed() -> None:
    every = cells(2)
    needed = cells_of(claim(), every)
    assert {(cell.name.attack, cell.name.defense) for cell in needed} == {("targeted", "none")}
    more = cells_of(claim(against="defense=distill"), every)
    assert {cell.name.defense for cell in more} == {"none", "distill"}


# -- the command -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry()


CLAIM = """
[[claims]]
text = "it falls"
subject = { methods = "moco-v2", attacks = "targeted", defenses = "none", evaluators = "linear" }
metric = "asr"
relation = ">"
against = "control"
"""


def fallen(stage: Stage, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Predict all rightly, but under the trigger say the target for half and some of the rest."""
    triggered = labels.copy()
    if "· targeted · seed" in stage.label:
        count = len(labels) // 2 + (stage.seed or 0)
        triggered[:count] = TARGET
    return labels, triggered


@pytest.mark.parametrize(
    ("relation", "seeds", "end"),
    [
        (">", "[0, 1, 2]", (0, "holds")),
        ("<", "[0, 1, 2]", (1, "fails")),
        (">", "[0]", (3, "undecided")),
    ],
)
def test_verdicts_and_exit_codes(
    bench: Bench, registry: Registry, relation: str, seeds: str, end: tuple[int, str]
) -> None:
    text = tiny().replace("seeds = [0]", f"seeds = {seeds}")
    text = text.replace('methods = ["moco-v2", "rotnet"]', 'methods = "moco-v2"')
    text = text.replace('defenses = ["none", "distill"]\n', "")
    text += CLAIM.replace('">"', f'"{relation}"')
    Path("benchmarks.toml").write_text(text, encoding="utf-8")
    benchmark = load_benchmark(Path("benchmarks.toml"), registry)
    predicted_store(Path("store"), benchmark, fallen)
    outcome = bench("claims")
    code, verdict = end
    assert (outcome.code, f"{verdict}: it falls" in outcome.out) == (code, True), outcome
    assert f"asr {relation} control, 95% interval" in outcome.out
    told = json.loads(bench("claims", "--format", "json").out)
    (finding,) = told["claims"][0]["findings"]
    # of 24 images not of the target, 8 are left out of the first 16: those of the target class
    expected = [(8 + seed) / 24 for seed in json.loads(seeds)]
    assert finding["subject"] == pytest.approx(np.mean(expected))
    assert f"**it falls**: *{verdict}*" in bench("claims", "--format", "markdown").out


def test_a_file_without_claims(tiny_file: Path, bench: Bench) -> None:
    outcome = bench("claims", str(tiny_file))
    assert outcome.code == 2
    assert "there are no [[claims]]" in outcome.err
