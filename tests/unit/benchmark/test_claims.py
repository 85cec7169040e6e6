"""Claims: what is said, what is wrong with it, and what the numbers make of it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from tests.conftest import Bench, tiny
from tests.predictions import TARGET, predicted_store

from backbench.benchmark.claims import Verdict, decide, half_width, judge, overall
from backbench.benchmark.config import load_benchmark
from backbench.benchmark.file import Claim
from backbench.errors import ConfigError
from backbench.model import Cell, CellName, Stage
from backbench.plugin.registry import Registry, load_registry

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


def metrics(values: Mapping[str, list[float]], name: str = "asr") -> dict[str, dict[str, float]]:
    return {
        f"{who}-{seed}": {name: value}
        for who, found in values.items()
        for seed, value in enumerate(found)
    }


# -- the statistic -----------------------------------------------------------------------------


def test_the_interval_is_students() -> None:
    values = [3.0, 5.5, 4.0, 9.0]
    low, high = scipy.stats.t.interval(0.9, 3, np.mean(values), scipy.stats.sem(values))
    assert half_width(values, 0.9) == pytest.approx((high - low) / 2)
    assert half_width([1.0], 0.9) is None


def test_what_is_judged_is_paired_and_linear() -> None:
    numbers = metrics({"targeted-none": [0.5, 0.7, 0.6], "control-none": [0.1, 0.2, 0.0]})
    said = claim(factor=2.0, margin=0.05, confidence=0.9)
    (finding,) = judge(said, cells(3), numbers.get).findings
    differences = [0.5 - 0.2 - 0.05, 0.7 - 0.4 - 0.05, 0.6 - 0.0 - 0.05]
    assert finding.difference == pytest.approx(np.mean(differences))
    _, high = scipy.stats.t.interval(0.9, 2, np.mean(differences), scipy.stats.sem(differences))
    assert finding.half == pytest.approx(high - np.mean(differences))
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
        (">", 0.0, 0.0, "fails"),  # equal in every seed
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
        values = list(rng.normal(0.0, 1.0, 3))
        half = half_width(values, 0.95)
        assert half is not None
        mean = float(np.mean(values))
        found.append(decide(">", mean - half, mean + half))
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
    numbers = metrics({"targeted-none": [0.5, 0.6], other: [0.1, 0.2]}, "accuracy/clean")
    said = claim(against=against, metric="accuracy/clean")
    (finding,) = judge(said, cells(2), numbers.get).findings
    assert (finding.against, finding.verdict) == (pytest.approx(0.15), "holds")


def test_a_number_and_a_variant() -> None:
    numbers = metrics({"targeted-none": [0.5, 0.51]}, "asr@k=1")
    judged = judge(claim(against=0.9, metric="asr@k=1"), cells(2), numbers.get)
    assert judged.verdict is Verdict.FAILS
    assert judged.findings[0].against == 0.9


def test_a_look_at_some_seeds_decides_nothing() -> None:
    numbers = metrics({"targeted-none": [0.5, 0.5, 0.5], "control-none": [0.0, 0.0]})
    (finding,) = judge(claim(), cells(3), numbers.get).findings
    assert (finding.seeds, finding.planned, finding.difference) == ((0, 1), 3, 0.5)
    assert finding.verdict is Verdict.UNDECIDED
    (one,) = judge(claim(), cells(1), numbers.get).findings
    assert (one.half, one.verdict) == (None, Verdict.UNDECIDED)
    (none,) = judge(claim(), cells(1), lambda _: None).findings
    assert (none.subject, none.verdict) == (None, Verdict.UNDECIDED)


def test_a_claim_holds_for_every_row_or_not_at_all() -> None:
    said = claim(subject={"attacks": "targeted", "defenses": ["none", "distill"]})
    numbers = metrics(
        {
            "targeted-none": [0.5, 0.6],
            "control-none": [0.1, 0.2],
            "targeted-distill": [0.1, 0.2],
            "control-distill": [0.5, 0.6],
        }
    )
    judged = judge(said, cells(2), numbers.get)
    assert [one.verdict for one in judged.findings] == ["holds", "fails"]
    assert judged.verdict is Verdict.FAILS
    assert overall([Verdict.HOLDS, Verdict.UNDECIDED]) is Verdict.UNDECIDED
    assert overall([Verdict.HOLDS, Verdict.HOLDS]) is Verdict.HOLDS
    assert overall([]) is Verdict.UNDECIDED


# -- the file ----------------------------------------------------------------------------------

CLAIM = """
[[claims]]
text = "it falls"
subject = { methods = "moco-v2", attacks = "targeted", defenses = "none", evaluators = "linear" }
metric = "asr"
relation = ">"
against = "control"
"""


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry()


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("moco-v2", "moco", "claims.0.subject.methods: no ssl-method is called 'moco': did you"),
        ('"asr"', '"acc/clean"', "claims.0.metric: no metric is called 'acc/clean': did you mean"),
        ('">"', '"=>"', "claims.0.relation: should be '>', '<', '>=' or '<='"),
        ('"control"', '"contrl"', "did you mean 'control'?"),
        ('"control"', "true", "claims.0.against: should be 'control', 'clean', FIELD=NAME or a"),
        ('"control"', "nan", "claims.0.against: should be 'control', 'clean', FIELD=NAME or a"),
        ('"control"', '"defence=none"', "no field is called 'defence': did you mean 'defense'?"),
        ('"control"', '"defense="', "claims.0.against: defense= names nothing"),
        ('"control"', '"defense=none"', "claims.0.against: 'defense=none' is the subject itself"),
        ('"control"', '"method=byol"', "claims.0.against: no [[matrix]] has drawn · byol · "),
        ('"control"', '"clean"', "cells without an attack have no asr: is 'control' meant?"),
        ('attacks = "targeted"', 'attacks = "none"', "cells without an attack have no control"),
        ('attacks = "targeted"', "seeds = 7", "claims.0.subject: no [[matrix]] has such a cell"),
        ('text = "it falls"\n', "", "claims.0.text: is missing"),
        ("text", "txt", "claims.0.txt: unknown key: did you mean 'text'?"),
        ('relation = ">"', 'relation = ">"\nconfidence = 95', "claims.0.confidence: "),
        ('relation = ">"', 'relation = ">"\nfactor = 0', "claims.0.factor: "),
        ('relation = ">"', 'relation = ">"\nfactor = "4"', "claims.0.factor: "),
    ],
)
def test_problems(tmp_path: Path, registry: Registry, old: str, new: str, problem: str) -> None:
    path = tmp_path / "b.toml"
    assert old in CLAIM
    path.write_text(tiny() + CLAIM.replace(old, new), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_benchmark(path, registry)
    assert problem in "\n".join(str(one) for one in caught.value.problems)


def test_all_problems_of_a_claim_come_at_once(tmp_path: Path, registry: Registry) -> None:
    wrong = CLAIM.replace('"asr"', '"ars"').replace('"control"', '"contrl"')
    path = tmp_path / "b.toml"
    text = tiny().replace("epochs = 2", "epocs = 2") + wrong
    path.write_text(text.replace("width = 10", "widht = 10"), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_benchmark(path, registry)
    places = {problem.path for problem in caught.value.problems}
    assert places >= {"claims.0.metric", "claims.0.against", "attacks.targeted.widht"}


def test_a_matrix_may_be_for_some_profiles(tmp_path: Path, registry: Registry) -> None:
    more = '[[matrix]]\ndatasets = "drawn"\nmethods = "rotnet"\nevaluators = "knn"\nseeds = 5\n'
    text = tiny() + more + 'profiles = "more"\n[profiles.more]\n[profiles.less]\n'
    path = tmp_path / "b.toml"
    path.write_text(text, encoding="utf-8")
    whole = load_benchmark(path, registry).cells
    assert load_benchmark(path, registry, "less").cells == whole
    extra = CellName("drawn", "none", "rotnet", "none", "knn", 5)
    assert extra not in whole
    assert load_benchmark(path, registry, "more").cells == (*whole, extra)
    assert load_benchmark(path, registry, every=True).cells == (*whole, extra)
    path.write_text(text.replace('profiles = "more"', 'profiles = "mor"'), encoding="utf-8")
    with pytest.raises(ConfigError, match=re.escape("matrix.1.profiles: no profile is called")):
        load_benchmark(path, registry)


def test_the_papers_six_findings_do_not_grow_the_matrix(registry: Registry) -> None:
    file = Path(__file__).parents[3] / "benchmarks.toml"
    whole = load_benchmark(file, registry)
    assert len(whole.claims) == 6
    assert len(whole.cells) == 144
    assert len(load_benchmark(file, registry, "quick").cells) == 24
    deciding = load_benchmark(file, registry, "claims")
    needed = {
        cell
        for one in whole.claims
        for cell in load_benchmark(file, registry, every=True).cells
        if one.subject.holds(cell)
    }
    assert needed <= set(deciding.cells)


# -- the command -------------------------------------------------------------------------------


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
