"""The plan: shared stages, controls unasked, keys that move only on purpose."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from tests.conftest import tiny

from backbench.benchmark.config import load_benchmark
from backbench.benchmark.planning import make_plan
from backbench.errors import ConfigError
from backbench.keys import key_of
from backbench.model import TRIGGERS_ALONE, Plan, PluginUse, Stage, StageKind
from backbench.plugin import DefenseInfo, Field, GuardOptions, SSLOptions, TwoViewOptions, hookimpl
from backbench.plugin.packages import Origin
from backbench.plugin.registry import Registry, load_registry


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry()


def plan_of(path: Path, registry: Registry, text: str) -> Plan:
    path.write_text(text, encoding="utf-8")
    return make_plan(load_benchmark(path, registry), {"drawn": "content"})


def count(plan: Plan, kind: StageKind) -> int:
    return sum(stage.kind == kind for stage in plan.stages.values())


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


def with_badencoder() -> str:
    return (
        tiny()
        .replace('[attacks.targeted]\nplugin = "patch"', "[attacks.targeted]")
        .replace('rate = { of = "target_class", value = 1.0 }\n', 'plugin = "badencoder"\n')
    )


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


def test_a_defense_of_the_dataset_cannot_answer_an_attack_on_the_encoder(
    tmp_path: Path, registry: Registry
) -> None:
    text = with_badencoder().replace(
        'defenses = ["none", "distill"]', 'defenses = ["none", "patch-search"]'
    )
    with pytest.raises(ConfigError, match="on attack 'targeted': the attack changes the encoder"):
        plan_of(tmp_path / "b.toml", registry, text)


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


STAGE = Stage(
    kind=StageKind.PRETRAIN,
    plugin=PluginUse(
        kind="ssl-method",
        name="moco-v2",
        distribution="backbench",
        revision=1,
        options={"epochs": 200, "root": "/somewhere"},
        identity={"epochs": 200},
    ),
    seed=0,
    inputs={"dataset": "d" * 32, "poison": "b" * 32},
    content="",
    label="pretrain",
)


GUARD = PluginUse("defense", "shield", "acme", 1, {}, {})


def test_the_key_of_a_guarded_stage_is_of_its_whole_identity() -> None:
    stage = replace(STAGE, guard=replace(GUARD, identity={"plugin": None}))
    assert stage.key == key_of(stage.identity())
    assert Stage.from_json(stage.to_json()).key == stage.key
    assert "guard" not in STAGE.identity() | STAGE.to_json()


def test_pinned_key() -> None:
    """If this fails, every store of every user is void: raise KEY_SCHEMA and say so."""
    assert STAGE.key == "a286285a8688bbadf5e9edc4cf1f0d3d"


def test_a_stage_knows_where_the_files_of_its_inputs_lie_now(
    tmp_path: Path, registry: Registry
) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "one.png")
    (tmp_path / "two.png").write_bytes((tmp_path / "one.png").read_bytes())
    plans = [
        plan_of(
            tmp_path / "b.toml",
            registry,
            tiny().replace("width = 10", f'width = 10\ntrigger = "{name}.png"'),
        )
        for name in ("one", "two")
    ]
    assert plans[0].stages.keys() == plans[1].stages.keys()
    for name, plan in zip(("one", "two"), plans, strict=True):
        triggered = [stage for stage in plan.stages.values() if "poison" in stage.given]
        assert triggered
        for stage in triggered:
            assert stage.given["poison"]["trigger"] == str(tmp_path / f"{name}.png")


def test_any_change_changes_the_key() -> None:
    assert STAGE.plugin is not None
    changed = [
        replace(STAGE, kind=StageKind.REPAIR),
        replace(STAGE, seed=1),
        replace(STAGE, content="x"),
        replace(STAGE, inputs={"dataset": "d" * 32}),
        replace(STAGE, inputs={"dataset": "d" * 32, "poison": "c" * 32}),
        replace(STAGE, plugin=None),
        replace(STAGE, guard=GUARD),
        replace(STAGE, guard=replace(GUARD, identity={"plugin": None})),
        replace(STAGE, guard=replace(GUARD, revision=2)),
        *(
            replace(STAGE, plugin=replace(STAGE.plugin, **change))  # type: ignore[arg-type]
            for change in (
                {"kind": "attack"},
                {"name": "byol"},
                {"distribution": "stranger"},
                {"revision": 2},
                {"identity": {"epochs": 100}},
            )
        ),
    ]
    keys = {STAGE.key, *(stage.key for stage in changed)}
    assert len(keys) == len(changed) + 1


def test_what_does_not_change_numbers_is_not_in_the_key() -> None:
    assert STAGE.plugin is not None
    assert replace(STAGE, label="other").key == STAGE.key
    assert replace(STAGE, given={"dataset": {"root": "/here"}}).key == STAGE.key
    moved = replace(STAGE.plugin, options={"epochs": 200, "root": "/elsewhere"})
    assert replace(STAGE, plugin=moved).key == STAGE.key
