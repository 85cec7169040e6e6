"""Sides, pairs, false alarms, limits; worst cases and means over attacks."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from backbench.errors import UsageError
from backbench.metrics import Outcome
from backbench.model import Axis
from backbench.report import tables
from backbench.report.comparison import as_json, markdown, show, warnings
from backbench.results.compare import METRICS, Comparison, broken, compare, limit, sides, unpaired
from backbench.results.filtering import select
from backbench.results.leaderboard import COLUMNS, Leaderboard, Row
from backbench.results.over_attacks import over_attacks
from backbench.results.statistics import (
    Sample,
    error_over_both,
    holm,
    on_seeds,
    sample_of,
    summarize,
)

IMAGES = 300


def sample(rates: Sequence[float], seed: int = 0) -> Sample:
    """Return a metric of one encoder a rate, on the same images."""
    rng = np.random.default_rng(seed)
    hits = {i: (rng.random(IMAGES) < rate).astype(np.int8) for i, rate in enumerate(rates)}
    outcomes = {i: Outcome(one, np.arange(IMAGES)) for i, one in hits.items()}
    return sample_of(outcomes)


def row(samples: Mapping[str, Sample], planned: int = 3, **names: str) -> Row:
    default = dict(
        zip(map(str, Axis), ("drawn", "none", "byol", "patch", "none", "linear"), strict=True)
    )
    seeds = max((one.seeds for one in samples.values()), key=len)
    values = {metric: summarize(one) for metric, one in samples.items()}
    return Row(default | names, seeds, planned, values, {}, {}, samples=samples)


def board(*rows: Row) -> Leaderboard:
    return Leaderboard("bench", COLUMNS, rows)


@pytest.fixture
def two() -> Leaderboard:
    """Two methods under two evaluators: ASR .6 and .3, the same accuracy."""
    return board(
        *(
            row(
                {"asr": sample([rate] * 3, k), "accuracy/clean": sample([0.9] * 3, 7)},
                method=method,
                evaluator=evaluator,
            )
            for k, (method, rate, evaluator) in enumerate(
                (method, rate, evaluator)
                for method, rate in (("byol", 0.6), ("moco-v2", 0.3))
                for evaluator in ("linear", "knn:k=1")
            )
        )
    )


def compared(
    two: Leaderboard, left: str = "method=byol", right: str = "method=moco-v2"
) -> list[Comparison]:
    one, other, field = sides(two, left, right)
    return compare(one, other, METRICS, field)


def test_rows_that_are_equal_in_the_rest_are_paired(two: Leaderboard) -> None:
    found = compared(two)
    assert [(one.names["evaluator"], one.metric) for one in found] == [
        ("linear", "accuracy/clean"),
        ("linear", "asr"),
        ("knn:k=1", "accuracy/clean"),
        ("knn:k=1", "asr"),
    ]
    assert "method" not in found[0].names
    asr = found[1]
    ours, theirs = two.rows[0].values["asr"], two.rows[2].values["asr"]
    assert asr.difference.mean == pytest.approx(ours.mean - theirs.mean)
    differences = np.subtract(ours.values, theirs.values)
    assert asr.effect == pytest.approx(differences.mean() / differences.std(ddof=1))
    assert asr.p_value is not None
    assert asr.p_value < 0.02
    assert asr.corrected == pytest.approx(holm([one.p_value for one in found])[1])
    assert found[0].difference.mean == 0
    assert found[0].p_value == pytest.approx(1)


def test_other_side_other_sign(two: Leaderboard) -> None:
    there, back = compared(two)[1], compared(two, "method=moco-v2", "method=byol")[1]
    assert back.difference.mean == pytest.approx(-there.difference.mean)
    assert back.p_value == pytest.approx(there.p_value)


def test_two_equal_stores_raise_no_alarm(two: Leaderboard) -> None:
    found = compare(two, two, METRICS)
    assert len(found) == 8
    assert [one.corrected for one in found] == pytest.approx([1.0] * 8)
    assert broken(found, [limit("asr > 0"), limit("accuracy/clean < -0")]) == []


def test_images_of_two_data_sets_are_not_paired(two: Leaderboard) -> None:
    names = {**two.rows[0].names, "dataset": "other"}
    both = replace(two, rows=(two.rows[0], replace(two.rows[2], names=names)))
    (one,) = [c for c in compared(both, "dataset=drawn", "dataset=other") if c.metric == "asr"]
    assert one.difference.over == "seeds"


def test_one_seed_cannot_be_tested() -> None:
    rows = [row({"asr": sample([0.5], k)}, planned=1, method=m) for k, m in enumerate("ab")]
    found = compared(board(*rows), "method=a", "method=b")
    assert (found[0].p_value, found[0].corrected, found[0].effect) == (None, None, None)
    with pytest.raises(UsageError, match="one seed in common and cannot be tested"):
        broken(found, [limit("asr > 0.9")])


def test_seeds_that_agree_cannot_be_tested_where_outcomes_are_not_known() -> None:
    def rates(*values: float) -> Row:
        found = Sample(tuple(range(len(values))), values, bounds=(0.0, 1.0))
        return row({"flip-rate": found}, method="a")

    found = compare(board(rates(0.75, 0.75)), board(rates(0.5, 0.5)), ["flip-rate"])
    assert (found[0].difference.ci95, found[0].p_value, found[0].effect) == (None, None, None)
    assert next(warnings(found)).startswith("1 of 1 comparisons differ alike at every seed")
    assert not broken(found, [limit("flip-rate > 0.25"), limit("flip-rate < 0")])
    with pytest.raises(UsageError, match="differs alike at every seed and cannot be tested"):
        broken(found, [limit("flip-rate > 0.2")])


def test_seeds_that_one_side_lacks_are_left_out() -> None:
    rows = [row({"asr": sample([0.5] * n, n)}, method=m) for m, n in (("a", 3), ("b", 2))]
    (one,) = compared(board(*rows), "method=a", "method=b")
    assert (one.left.n, one.right.n, one.difference.n) == (2, 2, 2)


@pytest.mark.parametrize(
    ("left", "right", "sentence"),
    [
        ("method=byol", "evaluator=linear", "values of two fields"),
        ("method=byol", "method=byol", "both sides are method=byol"),
        ("method=byol", "method=moco", "no method is called 'moco': did you mean 'moco-v2'"),
        ("methd=byol", "methd=x", "no field is called 'methd': did you mean 'method'"),
        ("method=", "method=x", "write FIELD=VALUE"),
    ],
)
def test_sides_that_are_none(two: Leaderboard, left: str, right: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        sides(two, left, right)


def test_a_side_with_two_variants_is_ambiguous(two: Leaderboard) -> None:
    more = replace(two.rows[1], names={**two.rows[1].names, "evaluator": "knn:k=5"})
    both = replace(two, rows=(*two.rows, more))
    with pytest.raises(UsageError, match="knn:k=1 and knn:k=5 are on one side"):
        compared(both, "evaluator=knn", "evaluator=linear")
    assert compared(both, "evaluator=knn:k=1", "evaluator=linear")


def test_nothing_in_common(two: Leaderboard) -> None:
    with pytest.raises(UsageError, match=r"any of asrr in common: did you mean 'asr'"):
        compare(two, two, ["asrr"])


# -- false alarms ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seeds", "between", "interaction"),
    [(3, 0.1, 0.0), (3, 0.5, 0.5), (3, 0.1, 0.5), (5, 0.5, 0.5)],
)
def test_equal_methods_raise_few_alarms(seeds: int, between: float, interaction: float) -> None:
    """1,000 comparisons of eight rows: two methods of equal rates, on the same images."""
    rng = np.random.default_rng(seeds)
    bound = stats.norm.ppf(0.4) * np.sqrt(2 + between**2 + interaction**2)

    def method(images: NDArray[np.float32]) -> NDArray[np.int8]:
        latent = rng.standard_normal((1000, seeds, 50), dtype=np.float32)
        latent += rng.normal(0, between, (1000, seeds, 1)) + images
        latent += interaction * rng.standard_normal((1000, 1, 50), dtype=np.float32)
        return (latent + bound > 0).astype(np.int8)

    rows = []
    for _ in range(8):
        images = rng.standard_normal((1000, 1, 50), dtype=np.float32)
        hits = method(images) - method(images)
        rows.append(error_over_both(hits).p_value(hits.mean(axis=(1, 2))))
    p_values = np.stack(rows, axis=1)
    assert np.mean(p_values <= 0.05) <= 0.06
    assert np.mean([min(holm(family)) <= 0.05 for family in p_values.tolist()]) <= 0.06


# -- limits ------------------------------------------------------------------------------------


def test_a_limit_is_exceeded_only_beyond_doubt(two: Leaderboard) -> None:
    found = compared(two)
    asr = next(one for one in found if one.metric == "asr")
    assert asr.difference.ci95 is not None
    end, _ = asr.difference.ci95
    assert 0.05 < end < asr.difference.mean - 0.05
    assert [row for _, row in broken(found, [limit("asr > +0.02")])] == [found[1], found[3]]
    assert broken([asr], [limit(f"asr > {end - 0.001:.6f}")])
    assert not broken([asr], [limit(f"asr > {end + 0.001:.6f}")])
    assert not broken(found, [limit("accuracy/clean < -0.01")])
    back = compared(two, "method=moco-v2", "method=byol")
    assert len(broken(back, [limit("asr < -0.1")])) == 2
    assert broken(back, [limit("asr > -0.1")]) == []


@pytest.mark.parametrize("text", ["asr", "asr = 1", "asr > lots", "> 0.1", "asr >= 0.1"])
def test_wrong_limits_are_one_sentence(text: str) -> None:
    with pytest.raises(UsageError, match="write METRIC > NUMBER"):
        limit(text)


def test_a_limit_of_an_unknown_metric(two: Leaderboard) -> None:
    with pytest.raises(UsageError, match="nothing has 'assr': did you mean 'asr'"):
        broken(compared(two), [limit("assr > 0.1")])


def test_what_one_side_lacks_is_named_and_breaks_a_limit(two: Leaderboard) -> None:
    first, *others = two.rows
    asr, clean = (first.samples[name] for name in ("asr", "accuracy/clean"))
    fewer = replace(first, samples={"asr": on_seeds(asr, [0, 1]), "accuracy/clean": clean})
    left = board(fewer, replace(others[0], samples={}))
    found, left_out = compare(left, two, METRICS), unpaired(left, two, METRICS)
    assert [one.where for one in left_out] == ["in both at 2 of 3 seeds"] + ["only in B"] * 6
    lost, on_fewer, *_ = warnings(found, left_out)
    assert lost.startswith("6 numbers of one side not compared: accuracy/clean of drawn · byol · ")
    assert lost.endswith("(only in B), …")
    assert on_fewer.startswith("1 number compared on fewer seeds: asr of drawn · byol · patch · ")
    limits = [limit("asr > 0.5")]
    with pytest.raises(UsageError, match=r"is only in B, as are 2 others, and cannot be compared"):
        broken(found, limits, left_out)
    assert broken(found, limits, left_out[:1]) == []


def test_seeds_in_common_are_needed_and_what_both_lack_is_no_loss(two: Leaderboard) -> None:
    row = two.rows[0]
    asr = row.samples["asr"]
    one, other = (replace(row, samples={"asr": on_seeds(asr, seeds)}) for seeds in ([0], [1, 2]))
    (found,) = unpaired(board(one), board(other), METRICS)
    assert (found.metric, found.where) == ("asr", "in both at none of 3 seeds")
    with pytest.raises(UsageError, match="is in both at none of 3 seeds and cannot be compared"):
        broken([], [limit("asr > 0.5")], [found])
    assert unpaired(two, two, METRICS) == []


def test_forms(two: Leaderboard) -> None:
    found: list[Comparison] = compared(two)
    text = markdown(found, "byol less moco-v2")
    assert "| A - B |" in " ".join(text.split())
    assert "corrected for all 4 comparisons" in text
    content = json.loads(as_json(found, "method=byol", "method=moco-v2", []))
    assert content["comparisons"][1]["difference"]["over"] == "seeds and images"
    assert content["comparisons"][1]["p"] == found[1].p_value


# -- over attacks ------------------------------------------------------------------------------


def test_the_worst_case_and_the_mean_over_attacks() -> None:
    def attack(name: str, asr: list[float], accuracy: list[float]) -> Row:
        seeds = tuple(range(len(asr)))
        samples = {
            "asr": Sample(seeds, tuple(asr)),
            "accuracy/triggered": Sample(seeds, tuple(accuracy)),
        }
        return row(samples, planned=2, attack=name)

    clean = row({"accuracy/clean": Sample((0, 1), (0.9, 0.8))}, planned=2, attack="none")
    one, other = attack("one", [0.1, 0.6], [0.5, 0.5]), attack("two", [0.3, 0.2], [0.7, 0.4])
    folded = over_attacks(board(clean, one, other))
    (found,) = folded.rows
    assert found.names["attack"] == "2 attacks"
    values = {metric: summary.values for metric, summary in found.values.items()}
    assert values["accuracy/clean"] == (0.9, 0.8)
    assert values["asr/worst"] == (0.3, 0.6)
    assert values["accuracy/triggered/worst"] == (0.5, 0.4)
    assert values["asr/mean"] == pytest.approx((0.2, 0.4))
    assert found.values["asr/mean"].over == "seeds"
    assert select(folded, ["asr/worst>0.4"], "-asr/mean").rows == (found,)
    titles = [line.strip() for line in tables.markdown(folded).splitlines()[0].split("|")]
    assert {"Acc, no attack", "Acc trig. worst", "ASR worst", "ASR mean"} <= set(titles)
    assert "FP worst" not in titles  # nobody has it
    assert "worst: of the attack that is the worst" in tables.markdown(folded)


def test_the_mean_over_attacks_knows_the_images() -> None:
    one, two = sample([0.2, 0.3, 0.25], 1), sample([0.4, 0.5, 0.45], 2)
    rows = (row({"asr": one}, attack="one"), row({"asr": two}, attack="two"))
    (found,) = over_attacks(board(*rows)).rows
    assert found.values["asr/mean"].over == "seeds and images"
    assert found.values["asr/worst"].over == "seeds"
    hits = found.samples["asr/mean"].hits
    assert hits is not None
    assert hits.mean(axis=1) == pytest.approx(found.values["asr/mean"].values)
    other = replace(two, images=np.arange(IMAGES) + 1)  # of another target
    (found,) = over_attacks(board(rows[0], row({"asr": other}, attack="two"))).rows
    assert found.values["asr/mean"].over == "seeds"


def test_only_seeds_that_all_attacks_have_are_folded() -> None:
    full = row({"asr": Sample((0, 1), (0.1, 0.2))}, planned=2, attack="one")
    part = row({"asr": Sample((1,), (0.5,))}, planned=2, attack="two")
    clean = row({"accuracy/clean": Sample((0, 1), (0.9, 0.8))}, planned=2, attack="none")
    (found,) = over_attacks(board(clean, full, part)).rows
    assert found.seeds == (1,)
    assert found.values["asr/worst"].values == (0.5,)
    assert found.values["accuracy/clean"].values == (0.8,)
    assert not found.complete


def test_rows_of_others_and_outdated_ones_are_not_folded_unseen() -> None:
    one = row({"asr": Sample((0, 1), (0.1, 0.2))}, attack="one")
    two = row({"asr": Sample((0, 1), (0.3, 0.4))}, attack="two")
    theirs = replace(row({"asr": Sample((0, 1), (0.9, 0.9))}, attack="one"), origin="theirs.zip")
    folded = over_attacks(board(one, replace(two, outdated="patch revision 1, now 2"), theirs)).rows
    assert [(found.names["attack"], found.origin) for found in folded] == [
        ("2 attacks", ""),
        ("1 attack", "theirs.zip"),
    ]
    assert folded[0].values["asr/worst"].values == (0.3, 0.4)
    assert [found.outdated for found in folded] == ["patch revision 1, now 2", ""]


def test_a_narrow_terminal_gets_names_and_intervals_one_below_the_other(
    two: Leaderboard, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    show(compared(two), "method=byol less method=moco-v2", "table")
    plain = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()
    assert max(map(len, plain)) <= 80
    assert "Downstream" not in "".join(plain)
    first = next(at for at, line in enumerate(plain) if line.startswith("patch"))
    assert [line.split()[0] for line in plain[first : first + 3]] == ["patch", "linear", METRICS[0]]
    assert "[" in plain[first + 1], "the interval is below the difference"
