"""Claims of a benchmark file: their form, and what is wrong with them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.conftest import tiny

from backbench.benchmark.config import load_benchmark
from backbench.errors import ConfigError
from backbench.model import CellName
from backbench.plugin.registry import Registry

CLAIM = """
[[claims]]
text = "it falls"
subject = { methods = "moco-v2", attacks = "targeted", defenses = "none", evaluators = "linear" }
metric = "asr"
relation = ">"
against = "control"
"""


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("moco-v2", "moco", "claims.0.subject.methods: no ssl-method is called 'moco': did you"),
        ('"asr"', '"acc/clean"', "claims.0.metric: no metric is called 'acc/clean': did you mean"),
        (
            '"asr"',
            '"distil/loss"',
            "no metric is called 'distil/loss': did you mean 'distill/loss'?",
        ),
        ('"asr"', '"patch/a b"', "claims.0.metric: no metric is called 'patch/a b'"),
        ('">"', '"=>"', "claims.0.relation: should be '>', '<', '>=' or '<='"),
        ('"control"', '"contrl"', "did you mean 'control'?"),
        ('"control"', "true", "claims.0.against: should be 'control', 'clean', FIELD=NAME or a"),
        ('"control"', "nan", "claims.0.against: should be 'control', 'clean', FIELD=NAME or a"),
        ('"control"', "9" * 400, "claims.0.against: should be 'control', 'clean', FIELD=NAME or a"),
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


def test_a_claim_may_be_on_a_number_that_a_plugin_reports(
    tmp_path: Path, registry: Registry
) -> None:
    path = tmp_path / "b.toml"
    path.write_text(tiny() + CLAIM.replace('"asr"', '"patch/poison_psnr"'), encoding="utf-8")
    (claim,) = load_benchmark(path, registry).claims
    assert claim.metric == "patch/poison_psnr"


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
