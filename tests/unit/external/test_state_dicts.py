"""Of all encoders in a file the one is taken that is meant; all other tensors are counted."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision import models

from backbench.errors import UsageError
from backbench.external.layouts import LAYOUTS
from backbench.external.state_dicts import Taken, layout_of, take, tensors_of
from tests.unit.external.conftest import under

with torch.device("meta"):
    NAMES = [name for name in models.resnet18().state_dict() if not name.startswith("fc.")]


def state(number: float) -> dict[str, Tensor]:
    """Return small tensors under the names of a ResNet-18."""
    return {name: torch.full((2,), number) for name in NAMES}


def taken(checkpoint: dict[str, Any], prefix: str | None = None) -> Taken:
    """Take an encoder as the command does."""
    held = tensors_of(checkpoint)
    layout = LAYOUTS[layout_of(held, prefix=prefix) or "torchvision"]
    return take(layout, held, "w.pth", prefix=prefix)


def refusal(checkpoint: dict[str, Any], prefix: str | None = None) -> str:
    with pytest.raises(UsageError) as caught:
        taken(checkpoint, prefix)
    return str(caught.value)


@pytest.mark.parametrize(
    "prefix",
    [
        *("_orig_mod.", "module._orig_mod.", "module.", "encoder.", "net.", "backbone.", "model."),
        *("module.encoder.", "model.encoder._orig_mod.", "module.base_encoder.", "state_dict."),
        "_fsdp_wrapped_module.network.",
    ],
)
@pytest.mark.parametrize("holder", ["", "state_dict", "model"])
def test_usual_prefixes_are_taken(prefix: str, holder: str) -> None:
    kept: dict[str, Any] = under(prefix, {**state(1), "fc.weight": torch.ones(1)})
    found = taken({holder: kept, "epoch": 3} if holder else kept)
    assert found.tensors.keys() == set(NAMES)
    assert found.prefix == (f"{holder}.{prefix}" if holder else prefix)
    assert sum(found.left.values()) == 1


def test_moco_v3_gives_its_base_encoder() -> None:
    both = {
        **under("module.base_encoder.", state(1)),
        **under("module.momentum_encoder.", state(2)),
    }
    found = taken({"state_dict": {**both, "module.predictor.0.weight": torch.ones(1)}})
    assert found.tensors["conv1.weight"].tolist() == [1, 1]
    assert found.left == {"module.momentum_encoder": 120, "module.predictor": 1}


#: Files with two encoders, and what the user can say.
BOTH: dict[str, tuple[dict[str, Any], str, str]] = {
    "timm": (
        {"state_dict": state(1), "state_dict_ema": state(2)},
        "state_dict.",
        "state_dict_ema.",
    ),
    "ema": (
        {"model": state(1), "model_ema": {"module": state(2)}},
        "model.",
        "model_ema.module.",
    ),
    "dino": (
        {"student": under("module.", state(1)), "teacher": under("module.", state(2))},
        "student.module.",
        "teacher.module.",
    ),
    "prefixes": (
        {**under("backbone.", state(1)), **under("model.", state(2))},
        "backbone.",
        "model.",
    ),
    "target": (
        {"state_dict": {**under("encoder.", state(1)), **under("target_encoder.", state(2))}},
        "state_dict.encoder.",
        "state_dict.target_encoder.",
    ),
    "inside": ({**state(1), **under("ema.", state(2))}, "''", "ema."),
    "moco": (
        {
            "state_dict": under("module.encoder_q.", state(1)),
            "ema": [under("module.encoder_q.", state(2))],
        },
        "state_dict.module.encoder_q.",
        "ema.0.module.encoder_q.",
    ),
    "quoted": ({"a b": state(1), "$x": state(2)}, "'a b.'", "'$x.'"),
    "half a copy": (
        {"model": state(1), "model_ema": dict(list(state(2).items())[:90])},
        "model.",
        "model_ema.",
    ),
}


@pytest.mark.parametrize("kind", BOTH)
def test_of_two_encoders_the_user_says_which(kind: str) -> None:
    checkpoint, *prefixes = BOTH[kind]
    text = refusal(checkpoint)
    assert f"say which: --prefix {prefixes[0]} or --prefix {prefixes[1]}" in text
    for number, prefix in enumerate(prefixes, start=1):
        found = taken(checkpoint, prefix.strip("'"))
        assert all(one.tolist() == [number, number] for one in found.tensors.values())
        everything = sum(map(len, tensors_of(checkpoint).values()))
        assert len(found.tensors) + sum(found.left.values()) == everything


def test_a_prefix_may_stop_before_what_wraps_the_network() -> None:
    checkpoint = BOTH["ema"][0]
    for prefix in ("model_ema", "model_ema.", "model_ema.module"):
        assert taken(checkpoint, prefix).prefix == "model_ema.module."
    assert "no key begins with 'modell' (its keys: model.conv1" in refusal(checkpoint, "modell")
    several = {"a": {"ema.x": 1, **under("one.", state(1)), **under("two.", state(2))}}
    assert "say which: --prefix a.one. or --prefix a.two." in refusal(several, "a")


def test_an_unknown_prefix_is_named_with_its_option() -> None:
    checkpoint = under("module.trunk_2.", state(1))
    text = refusal(checkpoint)
    assert "begins with 'module.trunk_2.' (120 tensors)" in text
    assert "say --prefix module.trunk_2." in text
    assert taken(checkpoint, "module.trunk_2.").tensors.keys() == set(NAMES)


def test_equal_copies_are_one_encoder_and_all_tensors_are_counted() -> None:
    found = taken(
        {
            "model": {**state(1), "head.0.weight": torch.ones(2)},
            "ema": state(1),
            "optimizer": {"state": {0: {"momentum_buffer": torch.ones(2)}}},
            "shadow": [torch.ones(1), torch.ones(1)],
            "best": torch.ones(1),
        }
    )
    assert found.left == {"head": 1, "ema": 120, "optimizer": 1, "shadow": 2, "best": 1}


def test_containers_may_hold_themselves_and_are_not_deep() -> None:
    held: dict[str, Any] = {"model": state(1)}
    held["self"] = held
    assert taken(held).prefix == "model."
    deep: dict[str, Any] = {}
    for _ in range(40):
        deep = {"inner": deep}
    with pytest.raises(UsageError, match="nested more than 32 deep"):
        tensors_of({"more": deep}, "w.pth")


def test_odd_prefixes_are_shown_as_a_shell_takes_them_and_few_of_many() -> None:
    assert "say --prefix $'a\\nb.\\x1b\\'.'" in refusal(under("a\nb.\x1b'.", state(1)))
    many = {f"m{number}": state(number) for number in range(20)}
    text = refusal(many)
    assert "'m5.' (120 tensors) and 14 more" in text
    assert "m6" not in text
