"""The plan: shared stages, controls unasked, attacks and datasets downstream."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.conftest import tiny
from tests.unit.benchmark.conftest import count, plan_of, with_badencoder

from backbench.benchmark.config import load_benchmark
from backbench.benchmark.planning import make_plan
from backbench.errors import ConfigError
from backbench.model import TRIGGERS_ALONE, Plan, Stage, StageKind
from backbench.plugin.registry import Registry


def test_stages_are_shared(tmp_path: Path, registry: Registry) -> None:
    plan = plan_of(tmp_path / "b.toml", registry, tiny())
    assert len(plan.cells) == 16
    assert count(plan, StageKind.DATASET) == 1
    assert count(plan, StageKind.POISON) == 1
    assert count(plan, StageKind.PRETRAIN) == 4  # 2 methods × {clean, poisoned}
    assert count(plan, StageKind.REPAIR) == 4
    # 8 encoders: clean features each; triggered features each, the clean ones' as controls
    assert count(plan, StageKind.FEATURES) == 16
    assert count(plan, StageKind.FIT) == 16  # 2 evaluators × 8 encoders, shared by all triggers
    assert count(plan, StageKind.PREDICT) == 16 + 8  # the cells and the controls


def test_every_stage_stands_after_its_inputs(tmp_path: Path, registry: Registry) -> None:
    plan = plan_of(tmp_path / "b.toml", registry, tiny())
    seen: set[str] = set()
    for key, stage in plan.stages.items():
        assert seen.issuperset(stage.inputs.values())
        seen.add(key)


def test_controls_come_unasked(tmp_path: Path, registry: Registry) -> None:
    text = tiny().replace('attacks = ["none", "targeted"]', 'attacks = ["targeted"]')
    plan = plan_of(tmp_path / "b.toml", registry, text)
    assert count(plan, StageKind.PRETRAIN) == 4
    for cell in plan.cells:
        assert cell.control is not None
        control = plan.stages[cell.control]
        cells_own = plan.stages[cell.evaluation]
        assert control.plugin == cells_own.plugin
        assert control.seed == cells_own.seed
        ours = plan.stages[cells_own.inputs["triggered"]]
        theirs = plan.stages[control.inputs["triggered"]]
        assert ours.inputs["poison"] == theirs.inputs["poison"]  # the same trigger
        assert "poison" not in plan.stages[_pretraining(plan, theirs)].inputs
        assert "poison" in plan.stages[_pretraining(plan, ours)].inputs


def test_an_attack_on_the_encoder_starts_from_the_encoder_of_its_control(
    tmp_path: Path, registry: Registry
) -> None:
    plan = plan_of(tmp_path / "b.toml", registry, with_badencoder())
    assert count(plan, StageKind.PRETRAIN) == 2  # of two methods, on clean images: none besides
    assert count(plan, StageKind.IMPLANT) == 2
    assert count(plan, StageKind.REPAIR) == 4
    for cell in plan.cells:
        if cell.control is None:
            continue
        own, control = (plan.ancestors(key) for key in (cell.evaluation, cell.control))
        implanted = [key for key in own if plan.stages[key].kind is StageKind.IMPLANT]
        assert len(implanted) == 1
        assert not [key for key in control if plan.stages[key].kind is StageKind.IMPLANT]
        start = plan.stages[implanted[0]].inputs["encoder"]
        assert start in control
        assert "poison" not in plan.stages[start].inputs


def test_a_trigger_is_learned_once_for_all_methods_and_controls(
    tmp_path: Path, registry: Registry
) -> None:
    text = (
        tiny()
        .replace('[attacks.targeted]\nplugin = "patch"', "[attacks.targeted]")
        .replace("value = 1.0 }\n", 'value = 1.0 }\nplugin = "blto"\nsurrogate = SURROGATE\n')
        .replace("SURROGATE", "{ epochs = 1, batch_size = 8 }")
    )
    plan = plan_of(tmp_path / "b.toml", registry, text)
    (learned,) = [key for key in plan.stages if plan.stages[key].kind is StageKind.FIT_TRIGGER]
    assert plan.stages[learned].inputs.keys() == {"dataset"}
    readers = [stage for stage in plan.stages.values() if learned in stage.inputs.values()]
    assert [stage.kind for stage in readers] == [StageKind.POISON]
    for cell in plan.cells:
        if cell.control is not None:
            assert learned in cell.path
            assert learned in plan.ancestors(cell.control)  # its images carry the same trigger


def with_downstream() -> str:
    """Return the tiny benchmark, evaluated on another drawn dataset as well."""
    other = '\n[datasets.other]\nplugin = "embedded"\nclasses = 5\ntrain_per_class = 16\nseed = 1\n'
    return (
        tiny().replace(
            'datasets = ["drawn"]', 'datasets = ["drawn"]\ndownstreams = ["none", "other"]'
        )
        + other
    )


def test_an_encoder_is_evaluated_on_another_dataset(tmp_path: Path, registry: Registry) -> None:
    path = tmp_path / "b.toml"
    path.write_text(with_downstream(), encoding="utf-8")
    contents = {"drawn": "content", "other": "other content"}
    plan = make_plan(load_benchmark(path, registry), contents)
    alone = plan_of(tmp_path / "alone.toml", registry, tiny())
    assert set(alone.stages) < set(plan.stages)  # the keys of the cells without it are the same
    assert count(plan, StageKind.PRETRAIN) == count(alone, StageKind.PRETRAIN)
    assert count(plan, StageKind.REPAIR) == count(alone, StageKind.REPAIR)
    assert count(plan, StageKind.POISON) == 2  # one a dataset
    for cell in plan.cells:
        if cell.name.downstream == "none" or cell.name.attack == "none":
            continue
        triggered = plan.stages[plan.stages[cell.evaluation].inputs["triggered"]]
        assert plan.stages[triggered.inputs["dataset"]].content == "other content"
        shown = plan.stages[triggered.inputs["poison"]]
        assert plan.stages[shown.inputs["dataset"]].content == "other content"
        trained = plan.stages[_pretraining(plan, triggered)]
        assert plan.stages[trained.inputs["dataset"]].content == "content"
        assert trained.inputs["poison"] != triggered.inputs["poison"]
        assert set(cell.path) == set(plan.ancestors(cell.evaluation))


def test_an_attack_that_finds_its_target_has_none_on_a_downstream_dataset(
    tmp_path: Path, registry: Registry
) -> None:
    text = with_downstream().replace('plugin = "patch"', 'plugin = "no-label"')
    text = text.replace('target = "', "# ").replace("rate = {", "# ")
    with pytest.raises(ConfigError, match="finds its target class among the images"):
        plan_of(tmp_path / "b.toml", registry, text)


def test_an_attack_on_the_encoder_knows_images_of_the_downstream_dataset(
    tmp_path: Path, registry: Registry
) -> None:
    text = with_downstream().replace('["none", "other"]', '["other"]')
    bad = '[attacks.targeted]\nplugin = "badencoder"\npreset = "small"\ntarget = "'
    before = text[text.index("[attacks.targeted]") : text.index("[methods.moco-v2]")]
    target = before.split('target = "')[1].split('"')[0]
    path = tmp_path / "b.toml"
    path.write_text(text.replace(before, f'{bad}{target}"\n\n'), encoding="utf-8")
    plan = make_plan(load_benchmark(path, registry), {"drawn": "content", "other": "other content"})
    implants = [stage for stage in plan.stages.values() if stage.kind is StageKind.IMPLANT]
    assert implants
    for stage in implants:
        assert plan.stages[stage.inputs["dataset"]].content == "content"
        assert plan.stages[stage.inputs["downstream"]].content == "other content"


NOISY = """
[attacks.targeted]
plugin = "noisy-alignment"
target = "CLASS"
width = 8
rate = { of = "count", value = 4 }

"""


def test_a_composing_attack_makes_poisons_of_the_set_that_is_trained_on_alone(
    tmp_path: Path, registry: Registry
) -> None:
    text = with_downstream()
    before = text[text.index("[attacks.targeted]") : text.index("[methods.moco-v2]")]
    target = before.split('target = "')[1].split('"')[0]
    path = tmp_path / "b.toml"
    path.write_text(text.replace(before, NOISY.replace("CLASS", target)), encoding="utf-8")
    plan = make_plan(load_benchmark(path, registry), {"drawn": "content", "other": "other content"})
    poisons = [one for one in plan.stages.values() if one.kind is StageKind.POISON]
    found = {plan.stages[one.inputs["dataset"]].content: one.content for one in poisons}
    assert found == {"content": "", "other content": TRIGGERS_ALONE}
    for cell in plan.cells:
        assert set(cell.path) == set(plan.ancestors(cell.evaluation))


def test_an_evaluator_of_images_reads_no_features(tmp_path: Path, registry: Registry) -> None:
    text = tiny().replace(
        'evaluators = ["linear", "knn"]', 'evaluators = ["linear-augmented", "layer-probe"]'
    )
    plan = plan_of(tmp_path / "b.toml", registry, text)
    assert count(plan, StageKind.FEATURES) == 0
    for cell in plan.cells:
        own = plan.stages[cell.evaluation]
        attacked = cell.name.attack != "none"
        assert set(own.inputs) == {"encoder", "dataset", "fit"} | (
            {"poison"} if attacked else set()
        )
        assert set(own.inputs.values()) <= set(cell.path)
        assert set(plan.stages[own.inputs["fit"]].inputs) == {"encoder", "dataset"}
        if not attacked:
            continue
        assert cell.control is not None
        control = plan.stages[cell.control]
        assert control.plugin == own.plugin
        assert control.inputs["poison"] == own.inputs["poison"]  # the same trigger
        assert "poison" in plan.stages[_pretraining(plan, own)].inputs
        assert "poison" not in plan.stages[_pretraining(plan, control)].inputs
        assert "target" in control.given["poison"]


def _pretraining(plan: Plan, stage: Stage) -> str:
    key = stage.inputs["encoder"]
    while plan.stages[key].kind != StageKind.PRETRAIN:
        key = plan.stages[key].inputs["encoder"]
    return key


def test_a_defense_is_not_handed_the_poison(tmp_path: Path, registry: Registry) -> None:
    plan = plan_of(tmp_path / "b.toml", registry, tiny())
    repairs = [stage for stage in plan.stages.values() if stage.kind == StageKind.REPAIR]
    assert repairs
    for stage in repairs:
        assert set(stage.inputs) == {"encoder", "dataset"}


def test_another_seed_shares_nothing_but_the_data(tmp_path: Path, registry: Registry) -> None:
    one = plan_of(tmp_path / "b.toml", registry, tiny())
    two = plan_of(tmp_path / "b.toml", registry, tiny().replace("seeds = [0]", "seeds = [1]"))
    shared = one.stages.keys() & two.stages.keys()
    # clean features draw nothing, but their encoders differ
    assert [one.stages[key].kind for key in shared] == [StageKind.DATASET]
