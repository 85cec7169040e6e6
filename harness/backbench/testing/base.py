"""Contract of every plugin, and helpers that the contracts share."""

from __future__ import annotations

import functools
import json
import random  # noqa: TID251 - to see that no plugin draws from it
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest
from pydantic import BaseModel, ValidationError

from backbench import plugin
from backbench.images import ArrayImages
from backbench.plugin import DatasetMetadata, PluginInfo
from backbench.plugin.registry import GROUP, Origin, Registered, Registry, load_registry
from backbench.system.arithmetic import standard_arithmetic
from backbench.system.json_text import to_json

if TYPE_CHECKING:
    from torch import Tensor

    from backbench.nn import Encoder

#: A small dataset: three classes, of 16, 14 and 10 training images of 32 pixels.
METADATA = DatasetMetadata(
    classes=("ant", "bee", "cat"), train=40, val=12, size=(32, 32), train_per_class=(16, 14, 10)
)


class PluginContract:
    """Contract of plugins of all kinds; subclass the contract of your kind instead.

    Attributes:
        base: Name in :mod:`backbench.plugin` of the class that the implementation derives from.
        info: The record that the plugin announces.
        options: Small settings, as a benchmark file would give them.
        metadata: The dataset that the settings are for.
    """

    base: ClassVar[str]
    info: ClassVar[PluginInfo]
    options: Mapping[str, Any] = {}
    metadata: DatasetMetadata = METADATA

    def settings(self) -> Any:
        """Return the validated options."""
        return self.info.options.model_validate(dict(self.options))

    def implementation(self) -> type[Any]:
        """Import the class that the record points at."""
        return Registered(self.info, Origin("", "", "")).implementation()

    @pytest.fixture(autouse=True)
    def _standard_arithmetic(self) -> Iterator[None]:
        with standard_arithmetic():
            yield

    # -- the record ---------------------------------------------------------------------------

    def test_is_announced_by_an_installed_entry_point(self) -> None:
        """The registry finds this record, and no problem with its distribution."""
        found = installed().find(self.info.kind, self.info.name)
        assert found.info == self.info
        owner = found.origin.distribution
        assert not [one for one in installed().failures if one.origin.distribution == owner]

    def test_announcing_does_not_import_torch(self) -> None:
        """``backbench --help`` imports the announcing module: it must be light."""
        origin = installed().find(self.info.kind, self.info.name).origin
        modules = {
            point.module
            for point in entry_points(group=GROUP, name=origin.entry_point)
            if point.dist is not None and point.dist.name == origin.distribution
        }
        for module in modules:
            assert_light(module)

    def test_summary_is_one_line_that_ends_with_a_full_stop(self) -> None:
        assert self.info.summary.endswith(".")
        assert "\n" not in self.info.summary

    def test_target_is_a_class_of_its_kind(self) -> None:
        """The class that the record names exists, and has no abstract method left."""
        found = self.implementation()
        assert issubclass(found, getattr(plugin, self.base))
        assert not getattr(found, "__abstractmethods__", frozenset())

    # -- the options --------------------------------------------------------------------------

    def test_every_option_has_a_description(self) -> None:
        """``backbench plugins show`` documents every option, nested ones too."""
        silent = [name for name, text in descriptions(self.info.options) if not text]
        assert not silent

    def test_options_survive_json(self) -> None:
        """A stage's record holds the options as JSON; a worker reads them from there."""
        settings = self.settings()
        stored = json.loads(to_json(settings.model_dump(mode="json")))
        assert self.info.options.model_validate(stored) == settings

    def test_unknown_options_are_refused(self) -> None:
        with pytest.raises(ValidationError):
            self.info.options.model_validate({**self.options, "no_such_option_": 1})

    def test_settings_fit_the_dataset(self) -> None:
        assert list(self.settings().problems(self.metadata)) == []

    def test_presets_are_valid(self) -> None:
        """Every preset is valid, if need be with the options that this contract gives."""
        for values in self.info.presets.values():
            try:
                self.info.options.model_validate(dict(values))
            except ValidationError:
                self.info.options.model_validate({**self.options, **values})


@functools.cache
def installed() -> Registry:
    """Return the registry of what is installed."""
    return load_registry()


@functools.cache
def assert_light(module: str) -> None:
    """Assert that importing a module, in a fresh process, does not import torch."""
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    done = subprocess.run(  # noqa: S603 - our own interpreter, a module's name
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr or f"importing {module} imports torch"


def descriptions(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the dotted name of every option and its description."""
    for name, field in model.model_fields.items():
        yield prefix + name, field.description or ""
        for inner in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                yield from descriptions(inner, f"{prefix}{name}.")


def sample_images(metadata: DatasetMetadata) -> ArrayImages:
    """Make a training set: noise around a color of each class; 32 pixels if sizes differ."""
    rng = np.random.default_rng(0)
    height, width = metadata.size or (32, 32)
    labels = np.repeat(np.arange(len(metadata.classes), dtype=np.int64), metadata.train_per_class)
    colors = rng.integers(64, 192, (len(metadata.classes), 1, 1, 3))
    noise = rng.integers(-60, 61, (len(labels), height, width, 3))
    pixels = (colors[labels] + noise).astype(np.uint8)
    return ArrayImages(pixels, labels, [f"train/{index:06d}" for index in range(len(labels))])


def tiny_encoder(image_size: int = 32) -> Encoder:
    """Make a tiny-resnet with random weights, in evaluation mode; the same each time."""
    import torch

    from backbench.nn import Encoder, EncoderSpec
    from backbench.options.training import BackboneOptions

    backbone = BackboneOptions(name="tiny-resnet", widths=(8, 16), strides=(1, 2), stem_width=8)
    spec = EncoderSpec(
        backbone.model_dump(mode="json"), image_size, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Encoder(spec).eval()


def same_weights(first: Encoder, second: Encoder) -> bool:
    """Compare the state of two encoders, bit by bit."""
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(one.equal(other) for one, other in pairs)


def features_of(encoder: Encoder, count: int = 4) -> Tensor:
    """Return features, (count, D), of images of noise, the same each time."""
    import torch

    side, generator = encoder.spec.image_size, torch.Generator().manual_seed(0)
    with torch.no_grad():
        features: Tensor = encoder(torch.rand(count, 3, side, side, generator=generator))
    return features


@contextmanager
def inputs_untouched() -> Iterator[None]:
    """Assert that nothing writes to a read-only array, as all are that a plugin is handed."""
    try:
        yield
    except ValueError as error:
        if "read-only" not in str(error):
            raise
        raise AssertionError("what a plugin is given must not be changed: copy it") from error


@contextmanager
def global_generators_untouched() -> Iterator[None]:
    """Assert that nothing draws from, or seeds, a global random generator."""
    before = _states()
    yield
    after = _states()
    changed = [name for name, state in before.items() if after[name] != state]
    assert not changed, f"the global generator of {', '.join(changed)} was used"


def _states() -> dict[str, bytes]:
    state: Any = np.random.get_state()  # noqa: NPY002 - to see that no plugin uses it
    states = {"random": repr(random.getstate()).encode()}
    states["numpy"] = repr(state[2:]).encode() + state[1].tobytes()
    if "torch" in sys.modules:
        states["torch"] = sys.modules["torch"].get_rng_state().numpy().tobytes()
    return states
