"""Keys of stages move only on purpose."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from PIL import Image
from tests.conftest import tiny
from tests.unit.benchmark.conftest import plan_of

from backbench.keys import key_of
from backbench.model import PluginUse, Stage, StageKind
from backbench.plugin.registry import Registry

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
