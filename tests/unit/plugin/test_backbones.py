"""Backbones of plugins: their names in options, in keys, and in the provenance of stages."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from tests.conftest import tiny
from tests.predictions import predicted_store

from backbench.benchmark.config import Benchmark, load_benchmark
from backbench.benchmark.planning import make_plan
from backbench.errors import ConfigError
from backbench.execution.redo import to_redo
from backbench.model import Plan, Stage, StageKind
from backbench.options import backbones
from backbench.options.backbones import BackboneOptions
from backbench.plugin import (
    BackboneInfo,
    DefenseInfo,
    Field,
    GuardOptions,
    LocalPath,
    Options,
    hookimpl,
)
from backbench.plugin.packages import Origin
from backbench.plugin.registry import Registry, load_registry
from backbench.results.outdated import CODES, changed_code
from backbench.store.store import Store
from backbench.system.files import write
from backbench.system.json_text import to_json


class NetOptions(Options):
    width: int = Field(8, ge=1, description="number of features")
    scale: float = Field(1.0, gt=0, description="of the weights")


class FileOptions(Options):
    weights: LocalPath | None = Field(None, description="a file")


NET = BackboneInfo(
    name="net", summary="N.", target="tests.contract.broken.backbone:Right", options=NetOptions
)


class Announces:
    def __init__(self, *infos: BackboneInfo) -> None:
        self.infos = infos

    @hookimpl
    def register_backbones(self) -> tuple[BackboneInfo, ...]:
        return self.infos


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    monkeypatch.setattr(backbones, "_ANNOUNCED", {})
    registry = load_registry()
    registry.add(Announces(NET), Origin("acme", "1.0", "net"))
    return registry


def benchmark(folder: Path, registry: Registry, backbone: str) -> Benchmark:
    path = folder / "b.toml"
    path.write_text(tiny().replace("queue = 64", f"queue = 64\nbackbone = {{ {backbone} }}"))
    return load_benchmark(path, registry)


def pretrainings(plan: Plan) -> list[Stage]:
    return [one for one in plan.stages.values() if one.kind is StageKind.PRETRAIN]


def problem(**given: Any) -> str:
    with pytest.raises(ValidationError) as error:
        BackboneOptions.model_validate(given)
    (found,) = error.value.errors()
    return f"{'.'.join(map(str, found['loc']))}: {found['msg']}"


def test_a_name_is_known_once_a_plugin_announces_it(registry: Registry) -> None:
    assert BackboneOptions(name="net").arguments == {"width": 8, "scale": 1.0}
    assert "'nett' is not a backbone" in problem(name="nett")
    assert problem(name="nett").endswith("or the name of a plugin's: did you mean 'net'?")
    assert not BackboneOptions(name="net").has_stages


def test_arguments_are_the_plugins_options(registry: Registry) -> None:
    found = problem(name="net", arguments={"width": 0, "height": 3})
    assert found.startswith("arguments: Value error, width: Input should be greater than")
    assert "height: Extra inputs are not permitted" in found
    assert "no built-in backbone takes any" in problem(name="resnet18", arguments={"width": 3})


def test_two_plugins_of_one_name_are_a_problem_of_the_options(registry: Registry) -> None:
    registry.add(Announces(NET), Origin("other", "2.0", "net"))
    assert "provided twice, by acme 1.0 and other 2.0" in problem(name="net")


@pytest.mark.parametrize(
    ("info", "sentence"),
    [
        (replace(NET, name="resnet18"), "the name is reserved"),
        (replace(NET, options=FileOptions), "an option is a path, and the weights of a backbone"),
    ],
)
def test_what_no_backbone_can_announce(info: BackboneInfo, sentence: str) -> None:
    registry = Registry()
    registry.add(Announces(info), Origin("acme", "1.0", "net"))
    assert sentence in registry.failures[0].reason


def test_the_key_has_name_distribution_revision_and_options(
    tmp_path: Path, registry: Registry
) -> None:
    def stage(backbone: str) -> Stage:
        found = make_plan(benchmark(tmp_path, registry, backbone), {"drawn": "content"})
        return pretrainings(found)[0]

    plain, given = stage('name = "net"'), stage('name = "net", arguments = { width = 8 }')
    assert plain.key == given.key
    assert plain.backbone is not None
    assert plain.identity()["backbone"] == {
        "kind": "backbone",
        "name": "net",
        "distribution": "acme",
        "revision": 1,
        "options": {"width": 8, "scale": 1.0},
    }
    others = [stage('name = "net", arguments = { width = 9 }')]
    others += [replace(plain, backbone=replace(plain.backbone, revision=2))]
    others += [replace(plain, backbone=replace(plain.backbone, distribution="other"))]
    assert len({plain.key, *(one.key for one in others)}) == 4
    assert Stage.from_json(plain.to_json()) == plain
    assert "backbone" not in stage('name = "resnet18"').to_json()


class Critic(GuardOptions):
    """Options of a defense of the training with a network of its own, and not at the top."""

    networks: tuple[BackboneOptions, ...] = Field((), description="judge images")


class Critics:
    @hookimpl
    def register_defenses(self) -> tuple[DefenseInfo, ...]:
        names = {"name": "critic", "summary": "C.", "target": "a:A", "options": Critic}
        return (DefenseInfo(**names, acts_on="training"),)


NESTED = """
[attacks.blto]
target = "CLASS"
rate = { of = "target_class", value = 0.5 }
surrogate = { batch_size = 8, epochs = 1, backbone = { name = "net" } }

[defenses.critic]
networks = [{ name = "tiny-resnet" }, { name = "net" }]
"""


def nested(folder: Path, revision: int, tables: str = NESTED) -> Plan:
    """Plan an attack that learns, and a guard, with a plugin's backbone in their options."""
    registry = load_registry()
    registry.add(Announces(replace(NET, revision=revision)), Origin("acme", "1.0", "net"))
    registry.add(Critics(), Origin("acme", "1.0", "critic"))
    text = tiny().replace('attacks = ["none", "targeted"]', 'attacks = ["blto"]')
    text = text.replace('methods = ["moco-v2", "rotnet"]', 'methods = ["rotnet"]')
    text = text.replace('defenses = ["none", "distill"]', 'defenses = ["none", "critic"]')
    target = text.split('target = "')[1].split('"')[0]
    path = folder / "b.toml"
    path.write_text(text + tables.replace("CLASS", target), encoding="utf-8")
    return make_plan(load_benchmark(path, registry), {"drawn": "content"})


@pytest.mark.usefixtures("registry")
def test_the_revision_of_a_backbone_is_in_the_key_wherever_options_name_it(tmp_path: Path) -> None:
    plans = [nested(tmp_path, revision) for revision in (1, 2)]
    kept = plans[0].stages.keys() & plans[1].stages.keys()
    assert {plans[0].stages[key].kind for key in kept} == {
        *(StageKind.DATASET, StageKind.PRETRAIN, StageKind.FEATURES, StageKind.FIT),
    }
    for key in kept:  # of the control without a defense, which has no backbone of a plugin
        stage = plans[0].stages[key]
        assert (stage.guard, stage.backbone) == (None, None)
        assert "blto" not in stage.label
    moved = [one for key, one in plans[1].stages.items() if key not in kept]
    (learns,) = (one for one in moved if one.kind is StageKind.FIT_TRIGGER)
    guarded = [one for one in moved if one.kind is StageKind.PRETRAIN and one.guard]
    assert learns.backbone is not None
    assert learns.backbone.revision == 2
    assert len(guarded) == 2
    for stage in guarded:
        assert stage.backbone is None
        assert stage.guard_backbone is not None
        assert stage.guard_backbone.name == "net"
        assert Stage.from_json(stage.to_json()) == stage


def test_an_instance_with_two_backbones_of_plugins_is_a_problem(
    tmp_path: Path, registry: Registry
) -> None:
    registry.add(Announces(replace(NET, name="second")), Origin("acme", "1.0", "second"))
    with pytest.raises(ConfigError, match="critic: names the backbones net and second of plugins"):
        nested(tmp_path, 1, NESTED.replace("tiny-resnet", "second"))


def test_a_backbone_that_cannot_see_the_images_is_a_problem(
    tmp_path: Path, registry: Registry
) -> None:
    broken = replace(NET, name="maps", target="tests.contract.broken.backbone:Maps")
    registry.add(Announces(broken), Origin("acme", "1.0", "maps"))
    with pytest.raises(ConfigError, match=r"backbone.name: on dataset 'drawn': maps gives \(8, "):
        benchmark(tmp_path, registry, 'name = "maps"')


def test_other_code_of_a_backbone_is_noticed_and_its_stages_can_be_redone(
    tmp_path: Path, registry: Registry
) -> None:
    made = benchmark(tmp_path, registry, 'name = "net"')
    plan = predicted_store(tmp_path / "store", made, lambda _, labels: (labels, labels))
    store = Store(tmp_path / "store")
    trained = [one for one in pretrainings(plan) if one.backbone]
    for stage in trained:
        record = store.record(stage.key)
        assert record is not None
        other = replace(record, provenance={CODES["backbone"]: "0" * 16})
        write(store.root / "records" / f"{stage.key}.json", to_json(other.to_json()))
    (sentence,) = changed_code(plan, store, registry)
    assert sentence.startswith(
        "the code of backbone 'net' of acme 1.0 has changed since it made 2 "
    )
    assert {one.key for one in trained} <= set(to_redo(plan, ["net"]))
