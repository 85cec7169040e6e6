"""Defenses in the plan: chains, detectors, inspections and guards."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.conftest import tiny
from tests.unit.benchmark.conftest import count, plan_of, with_badencoder

from backbench.errors import ConfigError
from backbench.model import Plan, StageKind
from backbench.plugin import DefenseInfo, Field, GuardOptions, SSLOptions, TwoViewOptions, hookimpl
from backbench.plugin.packages import Origin
from backbench.plugin.registry import Registry, load_registry


def test_a_defense_of_the_dataset_cannot_answer_an_attack_on_the_encoder(
    tmp_path: Path, registry: Registry
) -> None:
    text = with_badencoder().replace(
        'defenses = ["none", "distill"]', 'defenses = ["none", "patch-search"]'
    )
    with pytest.raises(ConfigError, match="on attack 'targeted': the attack changes the encoder"):
        plan_of(tmp_path / "b.toml", registry, text)


CHAINED = """
[defenses.search]
plugin = "patch-search"
preset = "small"
clusters = 4
"""


def test_a_chain_acts_in_the_order_of_its_shapes(tmp_path: Path, registry: Registry) -> None:
    for chain in ("distill+search", "search+distill"):
        text = tiny().replace('defenses = ["none", "distill"]', f'defenses = ["{chain}"]') + CHAINED
        plan = plan_of(tmp_path / "b.toml", registry, text)
        for cell in plan.cells:
            kinds = [plan.stages[key].kind for key in cell.path]
            start = kinds.index(StageKind.PRETRAIN)
            assert kinds[start : start + 4] == [
                StageKind.PRETRAIN,
                StageKind.SANITIZE,
                StageKind.PRETRAIN,
                StageKind.REPAIR,
            ]
            assert cell.name.defense == chain


def with_detector(path: Path, chain: str = "guard", *, learns: bool = False) -> Plan:
    """Plan with a detector that is not installed."""

    class Guard:
        @hookimpl
        def register_defenses(self) -> list[DefenseInfo]:
            names = {"name": "guard", "summary": "G.", "target": "a:A"}
            return [DefenseInfo(**names, acts_on="input", learns=learns)]

    registry = load_registry()
    registry.add(Guard(), Origin("guard", "1", "guard"))
    text = tiny().replace('defenses = ["none", "distill"]', f'defenses = ["none", "{chain}"]')
    return plan_of(path, registry, text)


def test_a_detector_is_beside_the_path_and_its_control_sees_the_same_trigger(
    tmp_path: Path,
) -> None:
    plan = with_detector(tmp_path / "b.toml")
    assert count(plan, StageKind.DETECT) == 6  # of 2 methods: clean, poisoned, control
    cells = {cell.name: cell for cell in plan.cells}
    for cell in plan.cells:
        if cell.name.defense == "none":
            assert cell.detections == ()
            continue
        bare = cells[replace(cell.name, defense="none")]
        assert (bare.path, bare.control) == (cell.path, cell.control)
        (one,) = cell.detections
        own = plan.stages[one.key]
        assert own.inputs["encoder"] in cell.path
        assert (one.control is None) == (cell.name.attack == "none")
        if one.control:
            control = plan.stages[one.control]
            assert control.inputs["poison"] == own.inputs["poison"]
            assert control.inputs["encoder"] != own.inputs["encoder"]
            assert control.plugin == own.plugin


def test_a_detector_learns_once_for_all_triggers_and_on_the_repaired_encoder(
    tmp_path: Path,
) -> None:
    plan = with_detector(tmp_path / "b.toml", "distill+guard", learns=True)
    assert count(plan, StageKind.DETECT) == 6
    assert count(plan, StageKind.FIT_DETECTOR) == 4  # 2 methods × {clean, poisoned}
    for stage in plan.stages.values():
        if stage.kind is StageKind.DETECT:
            assert plan.stages[stage.inputs["encoder"]].kind is StageKind.REPAIR
            learned = plan.stages[stage.inputs["detector"]]
            assert learned.inputs == {role: stage.inputs[role] for role in ("encoder", "dataset")}
    # a detector changes no encoder: it is named by its own stages alone
    assert not [one.label for one in plan.stages.values() if "distill+guard" in one.label]


INSPECTED = """
[defenses.decree]
preset = "small"
"""


def test_an_inspection_is_beside_the_path_and_shared_by_all_attacks(
    tmp_path: Path, registry: Registry
) -> None:
    defenses = 'defenses = ["none", "decree", "decree+distill"]'
    text = tiny().replace('defenses = ["none", "distill"]', defenses) + INSPECTED
    plan = plan_of(tmp_path / "b.toml", registry, text)
    assert count(plan, StageKind.INSPECT) == 4  # 2 methods × {clean, poisoned}, before any repair
    assert count(plan, StageKind.REPAIR) == 4
    clean = {}
    for cell in plan.cells:
        assert StageKind.INSPECT not in {plan.stages[key].kind for key in cell.path}
        assert len(cell.detections) == ("decree" in cell.name.defense)
        for detection in cell.detections:
            encoder = plan.stages[plan.stages[detection.key].inputs["encoder"]]
            assert encoder.kind is StageKind.PRETRAIN
            assert ("poison" in encoder.inputs) == (cell.name.attack != "none")
            if cell.name.attack == "none":
                clean[cell.name.method] = detection.key
                assert detection.control is None
    for cell in plan.cells:
        for detection in cell.detections:
            assert detection.control in {None, clean[cell.name.method]}


@pytest.mark.parametrize(
    ("chain", "sentence"),
    [
        ("distill+second", "distill and second both act on the encoder"),
        ("none+distill", "leave 'none' out of the chain"),
        ("distill+dstill", "no defense is called 'dstill': did you mean 'distill'?"),
    ],
)
def test_a_chain_whose_order_is_not_known_is_refused(
    tmp_path: Path, registry: Registry, chain: str, sentence: str
) -> None:
    text = tiny().replace('defenses = ["none", "distill"]', f'defenses = ["{chain}"]')
    text += '[defenses.second]\nplugin = "distill"\n'
    with pytest.raises(ConfigError) as caught:
        plan_of(tmp_path / "b.toml", registry, text)
    assert sentence in str(caught.value)


def test_the_name_of_a_defense_is_no_chain(tmp_path: Path, registry: Registry) -> None:
    text = tiny() + '[defenses."a+b"]\nplugin = "distill"\n'
    with pytest.raises(ConfigError, match=r"'\+' joins the defenses of a chain"):
        plan_of(tmp_path / "b.toml", registry, text)


class Guards:
    """A plugin with a defense of the training."""

    class RotationOnly(GuardOptions):
        """Options of a defense that wraps RotNet alone."""

        share: float = Field(0.1, description="a share")

        def method_problems(self, method: SSLOptions) -> Iterable[str]:
            if isinstance(method, TwoViewOptions):
                yield "it has two views: choose another method"

    @hookimpl
    def register_defenses(self) -> Iterable[DefenseInfo]:
        yield DefenseInfo(
            name="shield", summary="S.", target="a:A", acts_on="training", options=self.RotationOnly
        )
        yield DefenseInfo(name="any", summary="A.", target="a:A", acts_on="training")


@pytest.fixture
def guarded_registry() -> Registry:
    registry = load_registry()
    registry.add(Guards(), Origin("acme", "1.0", "acme"))
    return registry


def guarded(defenses: str, methods: str = '"rotnet"') -> str:
    return (
        tiny()
        .replace('defenses = ["none", "distill"]', f"defenses = [{defenses}]")
        .replace('methods = ["moco-v2", "rotnet"]', f"methods = [{methods}]")
    )


def test_a_guard_is_in_the_key_of_every_training_and_of_its_control(
    tmp_path: Path, guarded_registry: Registry
) -> None:
    plain = plan_of(tmp_path / "b.toml", guarded_registry, guarded('"none"'))
    text = guarded('"distill+search+shield"') + CHAINED
    plan = plan_of(tmp_path / "b.toml", guarded_registry, text)
    trained = [stage for stage in plan.stages.values() if stage.kind is StageKind.PRETRAIN]
    assert len(trained) == 4  # before and after the search, of the cell and of its control
    assert {stage.guard and stage.guard.name for stage in trained} == {"shield"}
    assert not any(stage.guard for stage in plan.stages.values() if stage not in trained)
    assert all(stage.label.startswith("pretrain rotnet with shield · ") for stage in trained)
    keys = {key for key, stage in plan.stages.items() if stage.kind is StageKind.PRETRAIN}
    assert not keys & plain.stages.keys()
    for cell in plan.cells:
        kinds = [plan.stages[key].kind for key in cell.path]
        start = kinds.index(StageKind.PRETRAIN)
        assert kinds[start + 1 : start + 4] == [
            StageKind.SANITIZE,
            StageKind.PRETRAIN,
            StageKind.REPAIR,
        ]


def test_trainings_that_differ_in_the_guard_alone_are_two(
    tmp_path: Path, guarded_registry: Registry
) -> None:
    text = guarded('"shield", "other", "any", "none"') + '[defenses.other]\nplugin = "shield"\n'
    plan = plan_of(tmp_path / "b.toml", guarded_registry, text)
    assert count(plan, StageKind.PRETRAIN) == 2 * 3  # two names of equal options are one guard
    changed = plan_of(tmp_path / "b.toml", guarded_registry, text + "share = 0.2\n")
    assert count(changed, StageKind.PRETRAIN) == 2 * 4


def test_a_guard_that_does_not_fit_a_method_is_refused(
    tmp_path: Path, guarded_registry: Registry
) -> None:
    text = guarded('"shield+distill"', '"moco-v2", "rotnet"')
    with pytest.raises(ConfigError) as caught:
        plan_of(tmp_path / "b.toml", guarded_registry, text)
    (problem,) = caught.value.problems
    assert str(problem.message) == "on method 'moco-v2': it has two views: choose another method"


def test_an_encoder_attack_starts_from_the_guarded_encoder(
    tmp_path: Path, guarded_registry: Registry
) -> None:
    text = with_badencoder().replace('defenses = ["none", "distill"]', 'defenses = ["any"]')
    plan = plan_of(tmp_path / "b.toml", guarded_registry, text)
    implants = [stage for stage in plan.stages.values() if stage.kind is StageKind.IMPLANT]
    assert len(implants) == 2
    for stage in implants:
        start = plan.stages[stage.inputs["encoder"]]
        assert start.guard is not None
        assert "poison" not in start.inputs
