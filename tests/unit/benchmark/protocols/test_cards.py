"""The cards that ship: valid, complete, and never changed in place."""

from __future__ import annotations

import hashlib
import json
import tomllib
from importlib import resources
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from backbench.benchmark.file import json_schema
from backbench.benchmark.protocols.card import EVERY, Protocol, find_protocol, protocol_ids
from backbench.benchmark.protocols.rules import terms_of
from backbench.data.classes import fingerprint
from backbench.errors import UsageError
from backbench.model import Axis
from backbench.plugin import Options
from backbench.plugin.registry import Registry, load_registry

IDS = (
    "embedded@1",
    "saha2022-cifar10@1",
    "saha2022-in100-published@1",
    "saha2022-in100@1",
)


RULES = find_protocol("embedded@1").rules.model_dump()


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry()


def model_of(registry: Registry, axis: str, plugin: str) -> type[Options]:
    return registry.find(Axis.of_plural(axis).kind, plugin).info.options


def dumped(model: type[BaseModel], values: dict[str, Any]) -> dict[str, Any]:
    """Return some of a model's options as they are after validation."""
    needed = {"target": "any", "root": ".", "train": "a", "val": "b"}
    extra = {k: v for k, v in needed.items() if k in model.model_fields and k not in values}
    return model.model_validate({**extra, **values}).model_dump(mode="json")


def holds(wanted: Any, found: Any) -> bool:
    if isinstance(wanted, dict):
        return all(holds(value, found[name]) for name, value in wanted.items())
    return bool(wanted == found)


def test_these_cards_ship() -> None:
    assert tuple(protocol_ids()) == IDS


#: First half of the SHA-256 of each card's content. A card that has been released is never
#: changed, or numbers that carry its name would no longer be comparable: add the next version.
PINNED = {
    "embedded@1": "02b73bb3952486e40d0bbb088ceb270c",
    "saha2022-cifar10@1": "be1d872bdebec070f3c6ca8813802de0",
    "saha2022-in100-published@1": "03a3e5279c5487a3d5a30f34c2ce8e47",
    "saha2022-in100@1": "fdc0b7cf570b3df2395ba58e584f477d",
}


@pytest.mark.parametrize("name", IDS)
def test_a_released_card_does_not_change(name: str) -> None:
    file = resources.files("backbench.benchmark.protocols").joinpath("cards", f"{name}.toml")
    content = json.dumps(tomllib.loads(file.read_text(encoding="utf-8")), sort_keys=True)
    assert hashlib.sha256(content.encode()).hexdigest()[:32] == PINNED[name]


@pytest.mark.parametrize("name", IDS)
def test_every_option_exists_and_is_valid(name: str, registry: Registry) -> None:
    card = find_protocol(name)
    for axis in ("datasets", "attacks", "methods"):
        for plugin, fixed in getattr(card, axis).items():
            plugins = registry.names(Axis.of_plural(axis).kind) if plugin == EVERY else [plugin]
            for one in plugins:
                info = registry.find(Axis.of_plural(axis).kind, one).info
                terms = terms_of(card, axis, "x", info)
                if plugin != EVERY:
                    assert terms.options == fixed.options
                    assert len(terms.unset) == len(fixed.unset)
                found = dumped(info.options, dict(terms.options))
                assert holds(terms.options, found)
                for place in terms.unset:  # there is such an option, and left out it is None
                    value: Any = found
                    for key in place:
                        value = value[key]
                    assert value is None


def test_the_evaluated_side_is_fixed_where_a_method_may_choose_it(registry: Registry) -> None:
    fixed = {
        name: terms_of(
            find_protocol("saha2022-in100@1"),
            "methods",
            "x",
            registry.find("ssl-method", name).info,
        ).options
        for name in ("moco-v2", "jigsaw")
    }
    assert fixed["moco-v2"]["views"] == {"size": 224}
    assert "views" not in fixed["jigsaw"]  # it has none: the dataset decides
    terms = terms_of(
        find_protocol("embedded@1"), "methods", "x", registry.find("ssl-method", "moco-v2").info
    )
    assert terms.unset == (("views", "size"),)
    assert terms.without_surplus({"views": {"size": 64, "flip": 0.0}, "dim": 2}) == {
        "views": {"flip": 0.0},
        "dim": 2,
    }


@pytest.mark.parametrize("name", IDS)
def test_an_evaluator_is_fixed_whole(name: str, registry: Registry) -> None:
    card = find_protocol(name)
    methods = registry.names("ssl-method")
    for one in card.evaluators.values():
        options = model_of(registry, "evaluators", one.plugin).model_validate(one.options)
        # a default that changes in a later version of a plugin does not change the card
        assert set(options.identity()) == set(one.options)
        assert holds(one.options, options.model_dump(mode="json"))
        assert set(one.methods) <= set(methods)


@pytest.mark.parametrize("name", IDS)
def test_images_agree_with_themselves(name: str) -> None:
    card = find_protocol(name)
    assert fingerprint(card.class_names()) == card.images.classes_sha256
    images = card.images
    sizes = {fixed.options.get("val_size") for fixed in card.datasets.values()} - {None}
    if images.resize is None:
        assert images.side == images.crop
        assert not sizes
    else:
        assert (images.resize, images.crop) == (256, 224)
        assert sizes == {images.crop}  # the datasets resize to 8/7 of it


def test_every_published_method_has_an_evaluator_with_both_fractions() -> None:
    card = find_protocol("saha2022-in100-published@1")
    for method in ("moco-v2", "byol", "jigsaw", "rotnet"):
        fractions = {
            one.options["label_fraction"]
            for one in card.evaluators.values()
            if one.methods == (method,)
        }
        assert {0.01, 0.1} <= fractions


@pytest.mark.parametrize(
    ("plugin", "preset", "method"),
    [
        ("linear-augmented", "saha2022", "moco-v2"),
        ("linear-raw", "saha2022", "byol"),
        ("layer-probe", "saha2022-jigsaw", "jigsaw"),
        ("layer-probe", "saha2022-rotnet", "rotnet"),
    ],
)
def test_published_evaluators_are_the_presets(
    registry: Registry, plugin: str, preset: str, method: str
) -> None:
    info = registry.find("evaluator", plugin).info
    wanted = dumped(info.options, dict(info.presets[preset]))
    for one in find_protocol("saha2022-in100-published@1").evaluators.values():
        if one.methods == (method,) and one.plugin == plugin:
            own = {"label_fraction": one.options["label_fraction"]}
            assert dumped(info.options, one.options) == wanted | own


def test_an_unknown_card_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'saha2022-in100@1'"):
        find_protocol("saha2022-in100")


@pytest.mark.parametrize(
    "change",
    [
        {"id": "no version"},
        {"rules": {**RULES, "asr_denominator": "some"}},
        {"rules": {**RULES, "encoder": "average"}},
        {"rules": {"encoder": "trained"}},
        {"images": {"classes": "imagenet100", "classes_sha256": "d6", "val": 1, "crop": 1}},
        {"evaluators": {}},
        {"surplus": 1},
    ],
)
def test_a_wrong_card_is_refused(change: dict[str, Any]) -> None:
    right = find_protocol("embedded@1").model_dump()
    Protocol.model_validate(right)
    with pytest.raises(ValidationError):
        Protocol.model_validate(right | change)


def test_the_schema_of_a_benchmark_file_lists_the_cards(registry: Registry) -> None:
    schema = json_schema(registry, [])
    field = schema["$defs"]["Header"]["properties"]["protocol"]
    assert {"enum": list(IDS)} in field["anyOf"]
