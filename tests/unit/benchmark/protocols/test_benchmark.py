"""A benchmark file that follows a card: defaults, contradictions, keys."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests import factories
from tests.conftest import tiny
from tests.unit.benchmark.protocols.made import CIFAR, in100, registry_with_strangers

from backbench.benchmark import instances
from backbench.benchmark.config import Benchmark, benchmark_from, load_benchmark
from backbench.benchmark.planning import make_plan
from backbench.benchmark.protocols.card import Protocol, denominator_of, find_protocol
from backbench.errors import ConfigError
from backbench.model import Plan, StageKind
from backbench.plugin.registry import Registry

ROOT = Path(__file__).parents[4]
CARD = "protocol saha2022-in100@1"
LEAVE = "; leave it out, or leave out the protocol"
NEAREST = ": did you mean 'saha2022-in100@1'?"
TENTH = ": did you mean 'linear-10pct'?"
EVALUATORS = "(there are: linear-1pct, linear-10pct, knn)"


@pytest.fixture(scope="module")
def registry() -> Registry:
    return registry_with_strangers()


def load(tables: Mapping[str, Any], registry: Registry) -> Benchmark:
    return benchmark_from(tables, source="b.toml", folder=Path(), registry=registry)


def problems(tables: Mapping[str, Any], registry: Registry) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(tables, registry)
    return [str(problem) for problem in caught.value.problems]


def changed(place: str, value: Any) -> dict[str, Any]:
    """Return the tables with one value changed or added."""
    tables = copy.deepcopy(in100())
    table: Any = tables
    *above, last = place.split(".")
    for name in above:
        table = table[int(name)] if isinstance(table, list) else table.setdefault(name, {})
    table[last] = value
    return tables


def test_a_card_leaves_options_unset_that_are_younger_than_it(
    registry: Registry, tmp_path: Path
) -> None:
    path = tmp_path / "list.txt"
    path.write_text("a.jpg", encoding="utf-8")
    (found,) = problems(changed("evaluators.knn.labels", str(path)), registry)
    assert found.startswith(f"evaluators.knn.labels: {CARD} leaves it unset")


# -- what the card gives ------------------------------------------------------------------------


def test_the_cards_values_are_the_defaults(registry: Registry) -> None:
    benchmark = load(in100(), registry)
    assert benchmark.protocol == find_protocol("saha2022-in100@1")
    patch = benchmark.instances["attacks"]["x"].options.model_dump()
    assert (patch["width"], patch["jpeg_quality"]) == (50, 75)
    assert patch["val_location"] == (0.1, 0.9)
    assert patch["train_location"] == (0.25, 0.75)  # the plugin's own: the card leaves it free
    backbone = benchmark.instances["methods"]["rotnet"].options.model_dump()["backbone"]
    assert (backbone["name"], backbone["stem"]) == ("resnet18", "imagenet")


def test_the_cards_evaluators_need_no_table(registry: Registry) -> None:
    evaluators = load(in100(), registry).instances["evaluators"]
    plugins = {name: one.registered.info.name for name, one in evaluators.items()}
    assert plugins == {"linear-1pct": "linear", "linear-10pct": "linear", "knn": "knn"}
    fractions = [one.options.model_dump()["label_fraction"] for one in evaluators.values()]
    assert fractions == [0.01, 0.1, 1.0]


def test_what_the_file_says_over_again_is_no_problem(registry: Registry) -> None:
    tables = changed("attacks.x.width", 50)
    tables["attacks"]["x"]["opacity"] = 1  # 1.0 in the card
    tables["attacks"]["x"]["preset"] = "saha2022"
    tables["evaluators"] = {"linear-1pct": {"plugin": "linear", "label_fraction": 0.01}}
    load(tables, registry)


def test_free_options_stay_free(registry: Registry) -> None:
    tables = changed("attacks.x.train_location", [0.0, 0.5])
    tables["attacks"]["x"]["rate"] = {"of": "count", "value": 650}
    tables["methods"] = {"rotnet": {"epochs": 7, "schedule": {"milestones": [3]}}}
    benchmark = load(tables, registry)
    assert benchmark.instances["methods"]["rotnet"].options.model_dump()["epochs"] == 7


def test_a_strangers_plugins(registry: Registry) -> None:
    """Another attack is free; a method is held to the backbone if it has one to choose."""
    tables = changed("attacks.own", {})
    tables["matrix"][0] |= {"attacks": ["x", "own"], "methods": ["theirs", "plain"]}
    tables["attacks"]["own"]["width"] = 1
    found = load(tables, registry).instances
    assert found["attacks"]["own"].options.model_dump() == {"width": 1}
    backbone = found["methods"]["theirs"].options.model_dump()["backbone"]
    assert backbone["name"] == "resnet18"
    tables["methods"] = {"theirs": {"backbone": {"name": "resnet50"}}}
    assert problems(tables, registry) == [
        f'methods.theirs.backbone.name: {CARD} fixes it to "resnet18" (given: "resnet50"){LEAVE}'
    ]


# -- what contradicts it ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "value", "problem"),
    [
        (
            "attacks.x.val_location",
            [0.25, 0.75],
            f"attacks.x.val_location: {CARD} fixes it to [0.1, 0.9] (given: [0.25, 0.75]){LEAVE}",
        ),
        (
            "methods.rotnet.views",
            {"size": 128},
            f"methods.rotnet.views.size: {CARD} fixes it to 224 (given: 128){LEAVE}",
        ),
        ("attacks.x.text", "hi", f'attacks.x.text: {CARD} leaves it unset (given: "hi"){LEAVE}'),
        (
            "attacks.x.preset",
            "small-images",
            f"attacks.x.width: {CARD} fixes it to 50 (preset 'small-images': 8)"
            + LEAVE.replace("leave it out", "choose another preset"),
        ),
        (
            "evaluators.linear-1pct.label_fraction",
            0.5,
            f"evaluators.linear-1pct.label_fraction: {CARD} fixes it to 0.01 (given: 0.5){LEAVE}",
        ),
        (
            "evaluators.linear-1pct.plugin",
            "knn",
            f'evaluators.linear-1pct.plugin: {CARD} fixes it to "linear" (given: "knn"){LEAVE}',
        ),
        (
            "evaluators.mine.plugin",
            "linear",
            f"evaluators.mine: {CARD} has no evaluator 'mine' {EVALUATORS}",
        ),
        (
            "matrix.0.evaluators",
            "linear",
            f"matrix.0.evaluators: {CARD} has no evaluator 'linear': did you mean 'linear-1pct'?",
        ),
        (
            "profiles.p.evaluators",
            ["linear-1pct", "linear-20pct"],
            f"profiles.p.evaluators: {CARD} has no evaluator 'linear-20pct'{TENTH}",
        ),
        (
            "benchmark.protocol",
            "saha2022-in100@2",
            f"benchmark.protocol: no protocol is called 'saha2022-in100@2'{NEAREST}",
        ),
        (
            "benchmark.protocol",
            1,
            "benchmark.protocol: should be a valid string (given: 1)",
        ),
        (
            "datasets.photographs.val",
            4_999,
            f"datasets.photographs: {CARD} has 5,000 validation images, and this 4,999",
        ),
        (
            "datasets.photographs.train",
            100_000,
            f"datasets.photographs: {CARD} has 126,689 training images, and this 100,000",
        ),
    ],
)
def test_one_contradiction(registry: Registry, place: str, value: Any, problem: str) -> None:
    assert problems(changed(place, value), registry) == [problem]


def test_all_contradictions_come_at_once(registry: Registry) -> None:
    tables = changed("attacks.x.width", 8)
    tables["attacks"]["x"]["val_location"] = [0.0, 1.0]
    tables["methods"] = {"rotnet": {"backbone": {"stem": "cifar", "name": "resnet34"}}}
    tables["attacks"]["x"]["text"] = "hi"
    tables["datasets"]["photographs"]["val"] = 1
    found = problems(tables, registry)
    places = [problem.split(":", 1)[0] for problem in found]
    assert places == [
        "methods.rotnet.backbone.name",
        "methods.rotnet.backbone.stem",
        "attacks.x.text",
        "attacks.x.width",
        "attacks.x.val_location",
        "datasets.photographs",
    ]


def test_another_class_list_is_named_with_both_fingerprints(registry: Registry) -> None:
    from backbench.data.classes import class_list

    classes = sorted(class_list("imagenet100"))
    classes[:3] = ["n00000001", "n00000002"]
    (problem,) = problems(changed("datasets.photographs.classes", classes), registry)
    assert problem.startswith(
        f"datasets.photographs: {CARD} is for the 100 classes of imagenet100 (fingerprint "
        "d61d354b64be), and this dataset has 99 (fingerprint "
    )
    assert problem.endswith(": 3 of the protocol's are missing, 2 are not the protocol's")


def cifar10(**data: Any) -> dict[str, Any]:
    tables = in100(benchmark={"protocol": "saha2022-cifar10@1"})
    counts = {"plugin": "counts", "classes": CIFAR, "train": 50_000, "val": 10_000, "side": 32}
    tables["datasets"] = {"photographs": counts | data}
    tables["attacks"] = {"x": {"plugin": "patch", "target": "frog"}}
    return tables


def test_cifar10(registry: Registry) -> None:
    options = load(cifar10(), registry).instances["methods"]["rotnet"].options.model_dump()
    assert options["backbone"]["stem"] == "cifar"
    (problem,) = problems(cifar10(side=64), registry)
    assert problem.endswith("takes images of 32 px as they are, not 64 x 64 px")
    (problem,) = problems(cifar10(side=None), registry)
    assert problem.endswith("takes images of 32 px as they are, not images of several sizes")
    given = {"plugin": "counts", "val_size": 32}  # an option that this dataset does not have
    assert "unknown key" in problems(cifar10(**given), registry)[0]


@pytest.mark.parametrize("method", ["moco-v2", "byol", "jigsaw", "rotnet"])
def test_the_cifar10_presets_follow_the_card(registry: Registry, method: str) -> None:
    tables = cifar10()
    tables["methods"] = {method: {"preset": "cifar10"}}
    tables["attacks"]["x"]["preset"] = "cifar10"
    tables["matrix"][0]["methods"] = method
    load(tables, registry)


@pytest.mark.parametrize("method", ["moco-v2", "byol", "jigsaw", "rotnet"])
def test_the_published_presets_follow_the_card(registry: Registry, method: str) -> None:
    tables = in100(methods={method: {"preset": "saha2022"}})
    tables["attacks"]["x"]["preset"] = "saha2022"
    tables["matrix"][0]["methods"] = method
    load(tables, registry)


def test_a_published_evaluator_is_for_its_method(registry: Registry) -> None:
    published = "saha2022-in100-published@1"
    tables = in100(benchmark={"protocol": published})
    tables["matrix"][0] |= {"methods": "byol", "evaluators": "linear-raw-1pct"}
    load(tables, registry)
    tables["methods"] = {"ours": {"plugin": "rotnet"}}
    tables["matrix"][0]["methods"] = ["byol", "ours"]
    (problem,) = problems(tables, registry)
    assert problem == (
        f"evaluators.linear-raw-1pct: protocol {published} evaluates byol with it, and not "
        "'ours': evaluate it with layer-probe-rotnet-1pct or layer-probe-rotnet-10pct, in a "
        "[[matrix]] of its own"
    )
    tables["matrix"][0]["methods"] = "theirs"
    (problem,) = problems(tables, registry)
    assert "and not 'theirs': no evaluator of it is for it" in problem


def test_an_option_of_a_table_may_have_to_be_left_out(registry: Registry) -> None:
    tables = tomllib.loads((ROOT / "benchmarks.toml").read_text(encoding="utf-8"))
    tables["methods"]["rotnet"]["views"] = {"size": 16, "flip": 2}
    found = problems(tables, registry)
    assert len(found) == 2  # and what else is wrong with the table is told too
    assert found[0].startswith("methods.rotnet.views.size: protocol embedded@1 leaves it unset")
    assert found[1].startswith("methods.rotnet.views.flip: should be less than or equal to 1")


def test_a_lost_card_hides_no_other_problem(registry: Registry) -> None:
    tables = changed("benchmark.protocol", "saha2022@1")
    tables["attacks"]["x"]["widht"] = 1
    found = problems(tables, registry)
    assert len(found) == 2
    assert any("attacks.x.widht: unknown key" in problem for problem in found)


# -- keys ---------------------------------------------------------------------------------------


def plan_of(benchmark: Benchmark) -> Plan:
    return make_plan(benchmark, dict.fromkeys(benchmark.datasets, "content"))


def evaluations(plan: Plan) -> set[str]:
    return {key for key, one in plan.stages.items() if one.kind == StageKind.PREDICT}


def with_denominator(card: Protocol, name: str) -> Protocol:
    rules = card.rules.model_copy(update={"asr_denominator": "all-images"})
    return card.model_copy(update={"id": name, "rules": rules})


def test_the_asr_denominator_of_a_card_is_in_no_key(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = plan_of(load(in100(), registry))
    other_card = with_denominator(find_protocol("saha2022-in100@1"), "of-all@1")
    monkeypatch.setattr(instances, "find_protocol", lambda _: other_card)
    other = plan_of(load(in100(), registry))
    assert other.protocol == "of-all@1"
    assert one.stages.keys() == other.stages.keys()
    assert denominator_of(one.protocol) == denominator_of("") == "other-classes"
    monkeypatch.setattr("backbench.benchmark.protocols.card.find_protocol", lambda _: other_card)
    assert denominator_of(other.protocol) == "all-images"


def test_the_cards_name_is_in_no_key(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    one = plan_of(load(in100(), registry))
    renamed = find_protocol("saha2022-in100@1").model_copy(update={"id": "same@2"})
    monkeypatch.setattr(instances, "find_protocol", lambda _: renamed)
    other = plan_of(load(in100(), registry))
    assert (one.protocol, other.protocol) == ("saha2022-in100@1", "same@2")
    assert one.stages.keys() == other.stages.keys()


def test_the_embedded_card_leaves_every_key_of_the_benchmark_file(
    tmp_path: Path, registry: Registry
) -> None:
    text = (ROOT / "benchmarks.toml").read_text(encoding="utf-8")
    line = 'protocol = "embedded@1"\n'
    assert text.count(line) == 1
    without = tmp_path / "without.toml"
    without.write_text(text.replace(line, ""), encoding="utf-8")
    plans = [
        plan_of(load_benchmark(path, registry)) for path in (ROOT / "benchmarks.toml", without)
    ]
    assert [plan.protocol for plan in plans] == ["embedded@1", ""]
    assert plans[0].stages.keys() == plans[1].stages.keys()
    assert plans[0].cells == plans[1].cells


def test_without_a_card_nothing_is_fixed(tiny_file: Path, registry: Registry) -> None:
    plan = plan_of(load_benchmark(tiny_file, registry))
    assert plan.protocol == ""
    assert {stage.content for stage in plan.stages.values()} == {"content", ""}
    board = factories.board(plan, {})
    assert board.protocol == ""
    assert "protocol" not in tiny()


def test_rows_carry_the_card(registry: Registry) -> None:
    board = factories.board(plan_of(load(in100(), registry)), {})
    assert board.protocol == "saha2022-in100@1"
    assert {row.protocol for row in board.rows} == {board.protocol}
