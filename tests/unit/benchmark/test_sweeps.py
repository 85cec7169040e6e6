"""A swept instance is several, and whatever names it names them all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Bench, tiny

from backbench.benchmark import sweeps
from backbench.benchmark.config import load_benchmark
from backbench.benchmark.sweeps import expanded
from backbench.errors import ConfigError, Problem
from backbench.plugin.registry import load_registry
from backbench.system.toml import parse_toml

SWEEP = 'sweep = { "rate.value" = [0.5, 1.0], width = [8, 10] }\n'
NAMES = [f"targeted@rate.value-{rate}@width-{width}" for rate in (0.5, 1.0) for width in (8, 10)]

MORE = """
[profiles.quick]
attacks = "targeted"
exclude = [{ attacks = ["targeted"], methods = "rotnet" }]

[[claims]]
text = "it works"
subject = { attacks = "targeted" }
metric = "asr"
relation = ">"
against = "control"
"""


def swept(sweep: str = SWEEP, more: str = "") -> str:
    return tiny().replace("[methods.moco-v2]", f"{sweep}\n[methods.moco-v2]") + more


def after(text: str) -> tuple[dict[str, Any], list[str]]:
    problems: list[Problem] = []
    tables = expanded(parse_toml(text, "tiny"), problems)
    return tables, [str(one) for one in problems]


def test_two_swept_options_give_their_product() -> None:
    tables, problems = after(swept())
    assert problems == []
    assert list(tables["attacks"]) == NAMES
    found = [(one["rate"]["value"], one["width"]) for one in tables["attacks"].values()]
    assert found == [(0.5, 8), (0.5, 10), (1.0, 8), (1.0, 10)]
    one = tables["attacks"][NAMES[0]]
    plain = parse_toml(tiny(), "tiny")["attacks"]["targeted"]
    assert one == plain | {"width": 8, "rate": plain["rate"] | {"value": 0.5}}


def test_matrices_profiles_and_claims_name_all_of_them() -> None:
    tables, _ = after(swept(more=MORE))
    assert tables["matrix"][0]["attacks"] == ["none", *NAMES]
    assert tables["matrix"][0]["methods"] == ["moco-v2", "rotnet"]
    assert tables["profiles"]["quick"]["attacks"] == NAMES
    assert tables["profiles"]["quick"]["exclude"] == [{"attacks": NAMES, "methods": "rotnet"}]
    assert tables["claims"][0]["subject"] == {"attacks": NAMES}
    assert tables["claims"][0]["metric"] == "asr"


def test_a_claim_against_a_swept_instance_is_one_against_each_member() -> None:
    against = "attack = targeted, defense=none"
    tables, problems = after(swept(more=MORE.replace("control", against)))
    assert problems == []
    assert [one["against"] for one in tables["claims"]] == [
        f"attack={name},defense=none" for name in NAMES
    ]
    assert tables["claims"][0]["text"] == f"it works (attack={NAMES[0]},defense=none)"
    tables, _ = after(swept(more=MORE.replace("control", "defense=none")))
    assert [one["against"] for one in tables["claims"]] == ["defense=none"]


def test_a_chain_with_a_swept_defense_is_several_chains() -> None:
    text = tiny().replace("[defenses.distill]", "[defenses.distill]\nsweep = { hidden = [1, 2] }")
    tables, _ = after(text.replace('["none", "distill"]', '["none", "patch-search+distill"]'))
    expected = [f"patch-search+distill@hidden-{number}" for number in (1, 2)]
    assert tables["matrix"][0]["defenses"] == ["none", *expected]


def test_a_long_chain_of_swept_defenses_is_counted_and_not_expanded() -> None:
    text = tiny().replace("[defenses.distill]", "[defenses.distill]\nsweep = { hidden = [1, 2] }")
    chain = "+".join(["distill"] * 64)
    _, problems = after(text.replace('["none", "distill"]', f'["{chain}"]'))
    assert problems == ["matrix: names more than 200,000 instances of sweeps"]


def test_a_file_without_sweeps_is_as_it_was() -> None:
    assert after(tiny() + MORE) == (parse_toml(tiny() + MORE, "tiny"), [])


def test_a_swept_benchmark_is_validated_and_its_members_are_plain_instances(tmp_path: Path) -> None:
    path = tmp_path / "b.toml"
    path.write_text(swept(more=MORE), encoding="utf-8")
    benchmark = load_benchmark(path, load_registry())
    assert list(benchmark.instances["attacks"]) == NAMES
    assert len(benchmark.cells) == 5 * 2 * 2 * 2
    assert {one.attack for one in load_benchmark(path, load_registry(), "quick").cells} == {*NAMES}
    plain = tmp_path / "plain.toml"
    plain.write_text(tiny().replace("width = 10", "width = 8"), encoding="utf-8")
    one = load_benchmark(plain, load_registry()).instances["attacks"]["targeted"]
    assert benchmark.instances["attacks"][NAMES[2]].use() == one.use()  # the same keys


def test_a_plugin_and_a_preset_can_be_swept(tmp_path: Path) -> None:
    path = tmp_path / "b.toml"
    text = tiny().replace(
        '[methods.rotnet]\npreset = "small"',
        '[methods.rotnet]\nsweep = { plugin = ["rotnet", "simsiam"], preset = ["small"] }',
    )
    path.write_text(text, encoding="utf-8")
    instances = load_benchmark(path, load_registry()).instances["methods"]
    found = {name: one.registered.info.name for name, one in instances.items()}
    assert found == {
        "moco-v2": "moco-v2",
        "rotnet@plugin-rotnet@preset-small": "rotnet",
        "rotnet@plugin-simsiam@preset-small": "simsiam",
    }


@pytest.mark.parametrize(
    ("values", "text"), [("[[1, 2], [3e20]]", ["1_2", "3e20"]), ("[true, 'a']", ["true", "a"])]
)
def test_values_in_names(values: str, text: list[str]) -> None:
    tables, _ = after(swept(f"sweep = {{ x = {values} }}\n"))
    assert list(tables["attacks"]) == [f"targeted@x-{one}" for one in text]


@pytest.mark.parametrize(
    ("sweep", "sentence"),
    [
        ("sweep = 3", "should be a table of options and their values"),
        ("sweep = {}", "should be a table of options and their values"),
        ("sweep = { width = 3 }", "width: should be an array of values"),
        ("sweep = { width = [] }", "width: should be an array of values"),
        ("sweep = { width = [8, 8] }", "width: 8 is there 2 times"),
        ("sweep = { width = [{ a = 1 }] }", "{'a': 1} is no number, text, true, false"),
        ('sweep = { "width.a" = [1] }', "width is 10, which has no 'a'"),
        ('sweep = { width = [3] }\n[attacks."targeted@width-3"]', "has an instance 'targeted@"),
    ],
)
def test_what_is_no_sweep_is_one_sentence(sweep: str, sentence: str) -> None:
    _, problems = after(swept(sweep))
    assert len(problems) == 1
    assert problems[0].startswith("attacks.targeted.sweep: ")
    assert sentence in problems[0]


def test_sweeps_are_counted_before_they_are_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    values = ", ".join(map(str, range(600)))
    sweep = f"sweep = {{ width = [{values}], opacity = [{values}], column = [{values}] }}"
    _, problems = after(swept(sweep))
    assert "the file's sweeps have more than 200,000 instances" in problems[0]
    monkeypatch.setattr(sweeps, "MOST_CELLS", 3)
    _, problems = after(swept())
    assert "more than 3 instances" in problems[0]


def test_a_wrong_value_is_named_with_its_instance(tmp_path: Path) -> None:
    path = tmp_path / "b.toml"
    path.write_text(swept("sweep = { width = [8, -1] }"), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_benchmark(path, load_registry())
    assert [one.path for one in caught.value.problems] == ["attacks.targeted@width--1.width"]


def test_the_mark_of_a_sweep_has_no_meaning_in_filters(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "benchmarks.toml").write_text(
        swept("sweep = { width = [8] }")
        .replace('"rotnet"]', "]")
        .replace('["linear", "knn"]', '["knn"]')
        .replace('["none", "distill"]', '["none"]')
        .replace("epochs = 2\nbatch_size = 32", "epochs = 0\nbatch_size = 32"),
        encoding="utf-8",
    )
    bench("run", "--executor", "serial").assert_ok()
    trace = bench("show", "--trace", "method=moco-v2,attack=targeted@width-8").assert_ok()
    assert "[attacks.targeted]" in trace.out
    assert "sweep = { width = [8] }" in trace.out
    bench("export", "--out", "b.zip").assert_ok()
    assert "no difference" in bench("verify", "b.zip").assert_ok().out
    bench("export", "--out", "c.zip", "--set", "attacks.targeted.sweep.width=[8]").assert_ok()
    assert "no difference" in bench("verify", "c.zip").assert_ok().out
