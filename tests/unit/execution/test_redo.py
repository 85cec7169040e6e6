"""`run --redo` makes the stages again that are asked for, and all that depend on them."""

from __future__ import annotations

import pytest

from backbench.errors import UsageError
from backbench.execution.redo import to_redo
from backbench.model import Plan, PluginUse, Stage, StageKind


def stage(kind: StageKind, plugin: str, **inputs: Stage) -> Stage:
    use = PluginUse("any", plugin, "d", 1, {}, {}) if plugin else None
    keys = {role: one.key for role, one in inputs.items()}
    return Stage(kind, use, 0, keys, label=f"{kind} {plugin} · seed 0")


DATA = stage(StageKind.DATASET, "embedded")
BYOL = stage(StageKind.PRETRAIN, "byol", dataset=DATA)
MOCO = stage(StageKind.PRETRAIN, "moco-v2", dataset=DATA)
OF_BYOL, OF_MOCO = (
    stage(StageKind.FEATURES, "", encoder=one, dataset=DATA) for one in (BYOL, MOCO)
)
KNN = stage(StageKind.PREDICT, "knn", clean=OF_BYOL)
PLAN = Plan("b", {one.key: one for one in (DATA, BYOL, MOCO, OF_BYOL, OF_MOCO, KNN)}, ())


@pytest.mark.parametrize(
    ("asked", "stages"),
    [
        ((), []),
        (("knn",), [KNN]),
        (("byol",), [BYOL, OF_BYOL, KNN]),
        (("features",), [OF_BYOL, OF_MOCO, KNN]),
        (("pretrain moco-v2 · seed 0",), [MOCO, OF_MOCO]),
        ((MOCO.key,), [MOCO, OF_MOCO]),
        ((MOCO.key[:8].upper(),), [MOCO, OF_MOCO]),
        (("moco-v2", KNN.key), [MOCO, OF_MOCO, KNN]),
        (("embedded",), list(PLAN.stages.values())),
    ],
)
def test_stages_are_found_by_key_label_kind_and_plugin(
    asked: tuple[str, ...], stages: list[Stage]
) -> None:
    assert to_redo(PLAN, asked) == [one.key for one in stages]


def test_all_words_that_name_nothing_are_reported_with_the_nearest_right_ones() -> None:
    with pytest.raises(UsageError) as caught:
        to_redo(PLAN, ["byol", "moco", "", BYOL.key[:3], "pretrain moco-v3 · seed 0"])
    text = str(caught.value)
    assert "called 'moco': did you mean 'moco-v2'?" in text
    assert "called '' (there are: dataset, embedded, pretrain, byol, moco-v2" in text
    assert f"called {BYOL.key[:3]!r}" in text
    assert "did you mean 'pretrain moco-v2 · seed 0'?" in text
    assert "'byol'?" not in text
