"""What an older version of a protocol card asked for is shown as outdated, and redone on request."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests.conftest import Bench, tiny
from tests.predictions import predicted_store

from backbench.benchmark.config import load_benchmark
from backbench.benchmark.planning import make_plan
from backbench.benchmark.protocols import card, find_protocol, free_options
from backbench.data.classes import fingerprint
from backbench.data.embedded import class_names
from backbench.model import Plan, Stage, StageKind
from backbench.plugin.registry import load_registry
from backbench.results.outdated import Outdatedness
from backbench.store.store import Store

CARD = """
summary = "Ours."
source = "ours"

[rules]
asr_denominator = "other-classes"
encoder = "trained"
selection = "last-epoch"
rate = "typed"

[images]
classes = CLASSES
classes_sha256 = "PRINT"
train = 96
val = 32
side = 32
crop = 32

[attacks.patch]
options = { blend = "composite" }
unset = ["text"]

[evaluators.linear]
plugin = "linear"

[evaluators.linear.options]
label_fraction = 1.0

[evaluators.knn]
plugin = "knn"

[evaluators.knn.options]
k = 3
"""


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Return the cards that there are; what is put in is one more."""
    names = class_names(4)
    text = CARD.replace("CLASSES", json.dumps(names)).replace("PRINT", fingerprint(names))
    found = {"ours@1": text}
    monkeypatch.setattr(card, "_cards", lambda: found)
    return found


def file(tmp_path: Path, version: int, name: str = "ours") -> Path:
    head, _, rest = tiny().partition("seeds = [0]\n")
    path = tmp_path / "benchmarks.toml"
    text = f'{head}seeds = [0]\nprotocol = "{name}@{version}"\n{rest}'
    path.write_text(text.replace('defenses = ["none", "distill"]', ""), encoding="utf-8")
    return path


def right(_stage: Stage, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return labels, labels


def planned(path: Path) -> Plan:
    benchmark = load_benchmark(path, load_registry())
    prints = {name: one.fingerprint(str) for name, one in benchmark.datasets.items()}
    return make_plan(benchmark, prints)


def filled(tmp_path: Path, path: Path) -> Plan:
    return predicted_store(tmp_path / "store", load_benchmark(path, load_registry()), right)


def reasons(found: Outdatedness, plan: Plan) -> dict[str, set[str]]:
    """Return, by evaluator, why cells are outdated; an empty reason is that of a current one."""
    said: dict[str, set[str]] = {}
    for cell in plan.cells:
        older = found.older(cell.evaluation)
        current = found.current(cell.evaluation)
        assert older is None or current is None
        reason = older.outdated if older else "" if current else "missing"
        said.setdefault(cell.name.evaluator, set()).add(reason)
    return said


def test_a_card_is_known_by_what_it_fixes(cards: dict[str, str]) -> None:
    one = find_protocol("ours@1")
    cards["ours@2"] = cards["ours@1"].replace('summary = "Ours."', 'summary = "Ours, again."')
    cards["ours@3"] = cards["ours@1"].replace("k = 3", "k = 4")
    assert find_protocol("ours@2").sha256 == one.sha256
    assert find_protocol("ours@3").sha256 != one.sha256
    assert one.stamp("knn") == {"id": "ours@1", "sha256": one.sha256, "evaluator": "knn"}


def test_options_that_cards_say_nothing_of(cards: dict[str, str]) -> None:
    cards["ours@2"] = cards["ours@1"].replace('{ blend = "composite" }', "{ width = 10 }")
    options = {"blend": "paste", "width": 3, "text": None, "target": "x", "rate": {"value": 1}}
    both = [find_protocol("ours@1"), find_protocol("ours@2")]
    assert free_options(both, "attacks", "patch", options) == {"target": "x", "rate": {"value": 1}}
    assert free_options(both[1:], "attacks", "patch", options).keys() >= {"blend", "target"}
    assert free_options(both, "attacks", "other", options) == options


def test_a_new_version_that_changes_no_key(
    tmp_path: Path, cards: dict[str, str], bench: Bench
) -> None:
    first = filled(tmp_path, file(tmp_path, 1))
    cards["ours@2"] = cards["ours@1"]
    plan, store = planned(file(tmp_path, 2)), Store(tmp_path / "store")
    assert plan.stages.keys() == first.stages.keys()
    found = Outdatedness(plan, store)
    said = "protocol ours@1, now ours@2"
    assert reasons(found, plan) == {"linear": {said}, "knn": {said}}
    evaluations = {k for k, one in plan.stages.items() if one.kind is StageKind.EVALUATE}
    assert set(found.outdated()) == evaluations
    assert found.outdated_part().cells == plan.cells
    assert f"§ outdated: {said}" in " ".join(bench("show").assert_ok().out.split())
    # only evaluations are made again: nothing else is said to be outdated
    assert not {plan.stages[key].kind for key in found.outdated()} - {StageKind.EVALUATE}


def test_a_new_version_that_changes_an_evaluator(
    tmp_path: Path, cards: dict[str, str], bench: Bench
) -> None:
    first = filled(tmp_path, file(tmp_path, 1))
    cards["ours@2"] = cards["ours@1"].replace("k = 3", "k = 4")
    plan, store = planned(file(tmp_path, 2)), Store(tmp_path / "store")
    found = Outdatedness(plan, store)
    said = "protocol ours@1, now ours@2"
    assert reasons(found, plan) == {"linear": {said}, "knn": {said}}
    older = [found.older(cell.evaluation) for cell in plan.cells]
    assert [one.key for one in older if one] == [cell.evaluation for cell in first.cells]
    controls = [found.older(cell.control) for cell in plan.cells if cell.control]
    assert [one.key for one in controls if one] == [c.control for c in first.cells if c.control]
    # what the card has left alone keeps its key, and is stamped anew; the rest is made
    outdated = {plan.stages[key].plugin.name for key in found.outdated()}  # type: ignore[union-attr]
    assert outdated == {"linear"}
    missing = set(found.outdated_part().stages) - store.done()
    assert {plan.stages[key].kind for key in missing} == {StageKind.EVALUATE}
    out = " ".join(bench("show").assert_ok().out.split())
    assert out.count(f"§ outdated: {said}: backbench run --refresh outdated") >= 1


def test_a_new_version_that_changes_the_trigger_and_the_count(
    tmp_path: Path, cards: dict[str, str]
) -> None:
    filled(tmp_path, file(tmp_path, 1))
    changed = cards["ours@1"].replace('{ blend = "composite" }', "{ opacity = 0.9 }")
    cards["ours@2"] = changed.replace('"other-classes"', '"all-images"')
    plan = planned(file(tmp_path, 2))
    found = Outdatedness(plan, Store(tmp_path / "store"))
    said = "protocol ours@1, now ours@2"
    assert reasons(found, plan) == {"linear": {said}, "knn": {said}}


def test_of_two_older_versions_the_later_counts(tmp_path: Path, cards: dict[str, str]) -> None:
    for version, k in ((1, 3), (2, 4), (3, 5)):
        cards[f"ours@{version}"] = cards["ours@1"].replace("k = 3", f"k = {k}")
    filled(tmp_path, file(tmp_path, 1))
    second = filled(tmp_path, file(tmp_path, 2))
    plan = planned(file(tmp_path, 3))
    found = Outdatedness(plan, Store(tmp_path / "store"))
    assert reasons(found, plan)["knn"] == {"protocol ours@2, now ours@3"}
    older = [found.older(c.evaluation) for c in plan.cells if c.name.evaluator == "knn"]
    wanted = [c.evaluation for c in second.cells if c.name.evaluator == "knn"]
    assert [one.key for one in older if one] == wanted


def test_a_card_that_was_changed_in_place(tmp_path: Path, cards: dict[str, str]) -> None:
    filled(tmp_path, file(tmp_path, 1))
    cards["ours@1"] = cards["ours@1"].replace("k = 3", "k = 4")
    plan = planned(file(tmp_path, 1))
    said = "protocol ours@1, whose card has changed"
    found = reasons(Outdatedness(plan, Store(tmp_path / "store")), plan)
    assert found == {"linear": {said}, "knn": {said}}


def test_what_is_not_older(tmp_path: Path, cards: dict[str, str]) -> None:
    """Another card, a later version, none: equal keys are equal numbers."""
    cards |= {"ours@2": cards["ours@1"], "theirs@9": cards["ours@1"]}
    current = {"linear": {""}, "knn": {""}}
    filled(tmp_path, file(tmp_path, 2))
    store = Store(tmp_path / "store")
    for path in (file(tmp_path, 1), file(tmp_path, 9, "theirs")):
        plan = planned(path)
        assert reasons(Outdatedness(plan, store), plan) == current
    path = file(tmp_path, 1)
    text = path.read_text(encoding="utf-8").replace('protocol = "ours@1"\n', "")
    path.write_text(
        text + "[evaluators.linear]\nlabel_fraction = 1.0\n[evaluators.knn]\nk = 3\n",
        encoding="utf-8",
    )
    plan = planned(path)
    assert reasons(Outdatedness(plan, store), plan) == current
    # made without a card, or by a backbench that did not say: taken as current
    other = tmp_path / "other"
    other.mkdir()
    filled(other, path)
    plan = planned(file(tmp_path, 2))
    assert reasons(Outdatedness(plan, Store(other / "store")), plan) == current


def test_another_method_or_target_is_missing_and_not_outdated(
    tmp_path: Path, cards: dict[str, str]
) -> None:
    filled(tmp_path, file(tmp_path, 1))
    cards["ours@2"] = cards["ours@1"].replace("k = 3", "k = 4")
    path = file(tmp_path, 2)
    text = path.read_text(encoding="utf-8").replace("value = 1.0", "value = 0.5")
    path.write_text(text, encoding="utf-8")
    plan = planned(path)
    found = Outdatedness(plan, Store(tmp_path / "store"))
    for cell in plan.cells:
        attacked = cell.name.attack != "none"
        assert (found.older(cell.evaluation) is None) == attacked


def test_refreshing_stamps_anew_and_trains_nothing(
    tmp_path: Path, cards: dict[str, str], bench: Bench
) -> None:
    path = file(tmp_path, 1)
    text = path.read_text(encoding="utf-8").replace('"moco-v2", "rotnet"]', '"rotnet"]')
    path.write_text(text.replace("epochs = 2", "epochs = 1"), encoding="utf-8")
    run = ("run", "--executor", "serial")
    bench(*run).assert_ok()
    store = Store(tmp_path / "store")
    before = {key: store.record(key) for key in store.done()}
    cards["ours@2"] = cards["ours@1"].replace("k = 3", "k = 4")
    path.write_text(path.read_text(encoding="utf-8").replace("ours@1", "ours@2"), encoding="utf-8")
    assert "0 stages executed" not in bench(*run, "--refresh", "outdated").assert_ok().err
    plan = planned(path)
    for key, stage in plan.stages.items():
        record = store.record(key)
        assert record is not None
        if stage.kind is StageKind.EVALUATE:
            assert record.metadata.protocol["id"] == "ours@2"
            was = before.get(key)
            assert was is None or was.files == record.files  # the same numbers, stamped anew
        else:
            assert before[key] == record  # not touched
    out = bench("show").assert_ok().out
    assert "outdated:" not in out
    assert "nothing is outdated" in bench(*run, "--refresh", "outdated").assert_ok().err
    why = bench("show", "--trace", "attack=none,evaluator=knn").assert_ok().out
    assert "protocol: id ours@2, sha256 " in why
