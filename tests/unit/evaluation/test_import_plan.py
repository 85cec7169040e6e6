"""The plan of an external encoder: a benchmark's own stages, but for the import."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backbench.benchmark.config import Benchmark, load_benchmark
from backbench.benchmark.planning import make_plan
from backbench.benchmark.protocols.card import Protocol
from backbench.errors import UsageError
from backbench.evaluation.import_plan import ImportedClassifier, check_encoder, choose, plan_import
from backbench.evaluation.request import under_protocol
from backbench.execution.messages import decode_order, encode_order
from backbench.external.encoder_options import NORMALIZATIONS, ImportOptions, normalization
from backbench.external.imported import Imported
from backbench.model import Plan, Stage, StageKind
from backbench.options.backbones import BackboneOptions
from backbench.plugin.registry import load_registry
from backbench.report.tables import as_json, comma_separated, latex, markdown
from backbench.store.records import Record
from tests import factories
from tests.conftest import tiny

FINGERPRINTS = {"drawn": "content"}


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory: pytest.TempPathFactory) -> Benchmark:
    path = tmp_path_factory.mktemp("plan") / "b.toml"
    path.write_text(tiny(), encoding="utf-8")
    return load_benchmark(path, load_registry())


def an_import(name: str = "w.pth", sha256: str = "aa", **changes: Any) -> Imported:
    mean, std = NORMALIZATIONS["imagenet"]
    values = {
        "weights": Path("/somewhere") / name,
        "layout": "torchvision",
        "backbone": BackboneOptions(name="resnet18"),
        "image_size": 64,
        "mean": mean,
        "std": std,
    }
    return Imported(ImportOptions(**{**values, **changes}), sha256)


def plan_of(benchmark: Benchmark, *attacks: str, **more: Any) -> Plan:
    choice = choose(benchmark, attacks=attacks)
    return plan_import(benchmark, FINGERPRINTS, choice, "theirs", an_import(), **more)


def kinds(plan: Plan) -> dict[str, int]:
    found: dict[str, int] = {}
    for stage in plan.stages.values():
        found[stage.kind.value] = found.get(stage.kind.value, 0) + 1
    return found


def test_a_clean_evaluation(benchmark: Benchmark) -> None:
    plan = plan_of(benchmark)
    assert kinds(plan) == {"dataset": 1, "import": 1, "features": 1, "fit": 2, "predict": 2}
    assert [(cell.name.attack, cell.name.method, cell.control) for cell in plan.cells] == [
        ("none", "theirs", None),
        ("none", "theirs", None),
    ]
    assert [cell.name.evaluator for cell in plan.cells] == ["linear", "knn"]


def test_with_a_trigger_and_without_a_control(benchmark: Benchmark) -> None:
    plan = plan_of(benchmark, "targeted")
    assert kinds(plan) == {
        "dataset": 1,
        "poison": 1,
        "import": 1,
        "features": 2,
        "fit": 2,
        "predict": 2,
    }
    assert all(cell.control is None for cell in plan.cells)


def test_the_control_is_seen_under_the_same_trigger(benchmark: Benchmark) -> None:
    plan = plan_of(benchmark, "targeted", control=an_import("clean.pth", "bb"))
    assert kinds(plan)["import"] == 2
    for cell in plan.cells:
        assert cell.control is not None
        ours, theirs = (_triggered(plan, key) for key in (cell.evaluation, cell.control))
        assert ours.inputs["poison"] == theirs.inputs["poison"]
        assert plan.stages[ours.inputs["encoder"]].content == "aa"
        assert plan.stages[theirs.inputs["encoder"]].content == "bb"


def _triggered(plan: Plan, evaluation: str) -> Stage:
    return plan.stages[plan.stages[evaluation].inputs["triggered"]]


def test_images_and_triggers_are_the_benchmarks_own(benchmark: Benchmark) -> None:
    own = make_plan(benchmark, FINGERPRINTS)
    plan = plan_of(benchmark, "targeted")
    for key, stage in plan.stages.items():
        shared = stage.kind in {StageKind.DATASET, StageKind.POISON}
        assert (key in own.stages) == shared
    seen: set[str] = set()
    for key, stage in plan.stages.items():
        assert seen.issuperset(stage.inputs.values())
        seen.add(key)


def test_keys_follow_the_content_and_not_the_place(benchmark: Benchmark) -> None:
    choice = choose(benchmark)

    def keys(encoder: Imported, name: str = "theirs") -> set[str]:
        return set(plan_import(benchmark, FINGERPRINTS, choice, name, encoder).stages)

    first = keys(an_import())
    assert keys(an_import("moved.pth"), "renamed") == first
    others = (
        an_import(sha256="bb"),
        an_import(image_size=32),
        an_import(layout="jigsaw"),
        an_import(backbone=BackboneOptions(name="resnet18", stem="cifar")),
        an_import(std=(1.0, 1.0, 1.0)),
    )
    for other in others:
        assert len(keys(other) & first) == 1  # the dataset


def test_an_import_reaches_a_worker_whole(benchmark: Benchmark) -> None:
    for stage in plan_of(benchmark, "targeted").stages.values():
        sent, _ = decode_order(encode_order(stage))
        assert sent == stage
        assert sent.key == stage.key


def test_an_imported_classifier_is_the_encoders_only(benchmark: Benchmark) -> None:
    choice = choose(benchmark, attacks=["targeted"], evaluators=["linear"])
    fitted, imported = (
        plan_import(
            benchmark,
            FINGERPRINTS,
            choice,
            "theirs",
            an_import(),
            control=an_import("clean.pth", "bb"),
            classifier=classifier,
        )
        for classifier in (None, ImportedClassifier(Path("/there/classifier.safetensors"), "cc"))
    )
    (before,), (after,) = fitted.cells, imported.cells
    assert after.control == before.control
    assert after.evaluation != before.evaluation
    stage = imported.stages[imported.stages[after.evaluation].inputs["fit"]]
    assert (stage.kind, stage.content, stage.inputs) == (StageKind.FIT, "cc", {})
    assert stage.given == {"classifier": {"path": "/there/classifier.safetensors"}}


def test_choices_are_checked(benchmark: Benchmark) -> None:
    assert choose(benchmark).evaluators == ("linear", "knn")
    assert choose(benchmark, seed=3).seed == 3
    wrong: tuple[tuple[dict[str, Any], str], ...] = (
        ({"attacks": ["targetted"]}, "--attack: .* has none called 'targetted': did you mean"),
        ({"evaluators": ["kn"]}, "--evaluator: .* has none called 'kn': did you mean 'knn'"),
        ({"dataset": "drown"}, "--dataset: .* did you mean 'drawn'"),
        ({"dataset": "x", "attacks": ["y"]}, "--dataset: .*; --attack: "),
    )
    for chosen, sentence in wrong:
        with pytest.raises(UsageError, match=sentence):
            choose(benchmark, **chosen)
    wide = replace(benchmark.metadata["drawn"], size=(32, 64))
    oblong = replace(benchmark, metadata={"drawn": wide})
    assert choose(oblong, attacks=["none"]).attacks == ("none",)
    with pytest.raises(UsageError, match=r"datasets\.drawn: the validation images are 64 x 32 px"):
        choose(oblong, attacks=["targeted"])
    two = replace(benchmark, datasets={**benchmark.datasets, "other": None})  # type: ignore[dict-item]
    with pytest.raises(UsageError, match="--dataset: say which one: drawn, other"):
        choose(two)


def test_an_evaluator_that_cannot_look_through_the_network(tmp_path: Path) -> None:
    path = tmp_path / "b.toml"
    path.write_text(tiny().replace('"linear", "knn"', '"layer-probe", "knn"'), encoding="utf-8")
    probed = load_benchmark(path, load_registry())
    stranger = an_import(layout="timm", backbone=BackboneOptions(name="timm/resnet18")).options
    with pytest.raises(UsageError, match=r"w\.pth: evaluators\.layer-probe: the stages of 'timm/"):
        check_encoder(probed, choose(probed), stranger)
    check_encoder(probed, choose(probed, evaluators=["knn"]), stranger)
    check_encoder(probed, choose(probed), an_import().options)


# -- rows ----------------------------------------------------------------------------------------


def records(plan: Plan) -> Mapping[str, Record]:
    metrics = {"accuracy/clean": 0.5, "asr": 0.25}
    return {key: factories.record(key, metrics=metrics) for key in plan.stages}


def test_rows_are_marked_in_every_form(benchmark: Benchmark) -> None:
    plan = plan_of(benchmark, "targeted")
    found = records(plan)
    board = factories.board(plan, found)
    assert all(row.external and row.seeds == (0,) and not row.controls for row in board.rows)
    text = markdown(board)
    assert text.count("theirs †") == 2
    assert "† external: weights that were not trained here" in text
    assert r"theirs $\dagger$" in latex(board)
    assert "†" not in latex(board)
    header, first, *_ = comma_separated(board).splitlines()
    assert first.split(",")[header.split(",").index("external")] == "yes"
    assert json.loads(as_json(board))["rows"][0]["external"] is True


def test_our_own_rows_are_not(benchmark: Benchmark) -> None:
    plan = make_plan(benchmark, FINGERPRINTS)
    found = records(plan)
    board = factories.board(plan, found)
    assert not any(row.external for row in board.rows)
    assert "†" not in markdown(board)
    assert {row["external"] for row in json.loads(as_json(board))["rows"]} == {False}


# -- under a protocol card ----------------------------------------------------------------------


def card(benchmark: Benchmark, **changes: Any) -> Benchmark:
    values: dict[str, Any] = {
        "id": "ours@1",
        "summary": "a card",
        "source": "this test",
        "rules": {
            "asr_denominator": "other-classes",
            "encoder": "trained",
            "selection": "last-epoch",
            "rate": "typed",
        },
        "images": {"classes": ["a"], "classes_sha256": "0" * 64, "val": 1, "crop": 64},
        "evaluators": {
            "linear": {"plugin": "linear", "methods": ["moco-v2"]},
            "knn": {"plugin": "knn"},
        },
    }
    return replace(benchmark, protocol=Protocol.model_validate({**values, **changes}))


def test_a_card_chooses_the_evaluators_of_the_method(benchmark: Benchmark) -> None:
    under = card(benchmark)
    choice = choose(under)
    moco, other = an_import(layout="moco").options, an_import().options
    assert under_protocol(under, choice, moco, ()).evaluators == ("linear", "knn")
    assert under_protocol(under, choice, other, ()).evaluators == ("knn",)
    asked = choose(under, evaluators=["linear"])
    assert under_protocol(under, asked, moco, ["linear"]) == asked
    with pytest.raises(UsageError, match=r"ours@1: its evaluator linear is for encoders of other"):
        under_protocol(under, asked, other, ["linear"])
    assert under_protocol(benchmark, choice, other, ()) == choice


def test_a_card_holds_for_external_encoders(benchmark: Benchmark) -> None:
    fixed = {
        "*": {"options": {"backbone": {"name": "resnet18", "stem": "imagenet"}, "image_size": 224}}
    }
    under = card(benchmark, methods=fixed)
    choice = choose(under)
    good = an_import(image_size=224).options
    assert under_protocol(under, choice, good, ()).evaluators == ("knn",)
    wrong = an_import(image_size=32, backbone=BackboneOptions(name="resnet50")).options
    with pytest.raises(UsageError) as caught:
        under_protocol(under, choice, wrong, ())
    assert "backbone.name is 'resnet18' there, and 'resnet50' here" in str(caught.value)
    assert "image_size is 224 there, and 32 here" in str(caught.value)


# -- normalizations ------------------------------------------------------------------------------


def test_normalizations() -> None:
    assert normalization("imagenet") == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert normalization("0.5, .5,1/.25,.5,1") == ((0.5, 0.5, 1.0), (0.25, 0.5, 1.0))
    for text, name in (("imagnet", "imagenet"), ("cifr10", "cifar10")):
        with pytest.raises(UsageError, match=f"did you mean '{name}'"):
            normalization(text)
    for text in ("0.5", "0.5,0.5,0.5", "0,0,0/1,0,1", "0,0,0/1,1,nan", "0,0/1,1,1", "0,0,0/1,1,-1"):
        with pytest.raises(UsageError, match="three means and three positive deviations"):
            normalization(text)
