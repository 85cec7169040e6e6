"""What every plugin promises, and what the contracts share."""

# ruff: noqa: S101 - asserting is what a test does

from __future__ import annotations

import functools
import json
import random  # noqa: TID251 - to see that no plugin draws from it
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import entry_points
from typing import Any, ClassVar

import numpy as np
import pytest
from pydantic import BaseModel, ValidationError

from backbench.images import ArrayImages
from backbench.plugin import DatasetMetadata, PluginInfo
from backbench.plugin.registry import GROUP, Origin, Registered, Registry, load_registry

#: A small dataset: three classes, of 16, 14 and 10 training images of 32 pixels.
METADATA = DatasetMetadata(
    classes=("ant", "bee", "cat"), train=40, val=12, size=(32, 32), train_per_class=(16, 14, 10)
)


class PluginContract(ABC):
    """What plugins of all kinds promise; subclass the contract of your kind instead.

    Attributes:
        info: The record that the plugin announces.
        options: Small settings, as a benchmark file would give them.
        metadata: The dataset that the settings are for.
    """

    info: ClassVar[PluginInfo]
    options: Mapping[str, Any] = {}
    metadata: DatasetMetadata = METADATA

    @property
    @abstractmethod
    def base(self) -> type[Any]:
        """The class that the implementation must derive from."""

    def settings(self) -> Any:
        """Return the validated options."""
        return self.info.options.model_validate(dict(self.options))

    def implementation(self) -> type[Any]:
        """Import the class that the record points at."""
        return Registered(self.info, Origin("", "", "")).implementation()

    def plugin(self) -> tuple[type[Any], Any, PluginInfo]:
        """Return the class, the validated options and the record, as a stage gets them."""
        return self.implementation(), self.settings(), self.info

    # -- the record ---------------------------------------------------------------------------

    def test_is_announced_by_an_installed_entry_point(self) -> None:
        """The registry finds this very record, and has nothing to complain of."""
        found = installed().find(self.info.kind, self.info.name)
        assert found.info == self.info
        origin = found.origin
        complaints = [
            f for f in installed().failures if f.origin.distribution == origin.distribution
        ]
        assert not complaints

    def test_announcing_does_not_import_torch(self) -> None:
        """``backbench --help`` imports the announcing module: it must be light."""
        origin = installed().find(self.info.kind, self.info.name).origin
        modules = {
            point.module
            for point in entry_points(group=GROUP, name=origin.entry_point)
            if point.dist is not None and point.dist.name == origin.distribution
        }
        for module in modules:
            assert not imports_torch(module), f"importing {module} imports torch"

    def test_says_what_it_is_in_one_sentence(self) -> None:
        """The summary is one line that ends with a full stop."""
        assert self.info.summary.endswith(".")
        assert "\n" not in self.info.summary

    def test_target_is_a_class_of_its_kind(self) -> None:
        """The class that the record names is there, and has no abstract method left."""
        found = self.implementation()
        assert issubclass(found, self.base)
        assert not getattr(found, "__abstractmethods__", frozenset())

    # -- the options --------------------------------------------------------------------------

    def test_every_option_has_a_description(self) -> None:
        """``backbench plugins show`` documents every option, nested ones too."""
        silent = [name for name, text in descriptions(self.info.options) if not text]
        assert not silent

    def test_options_survive_json(self) -> None:
        """A stage's record holds the options as JSON; a worker reads them from there."""
        settings = self.settings()
        stored = json.loads(json.dumps(settings.model_dump(mode="json")))
        assert self.info.options.model_validate(stored) == settings

    def test_unknown_options_are_refused(self) -> None:
        """A misspelt option is an error, not ignored."""
        with pytest.raises(ValidationError):
            self.info.options.model_validate({**self.options, "no_such_option_": 1})

    def test_settings_fit_the_data_set(self) -> None:
        """The options find no problem with the dataset of this contract."""
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
def imports_torch(module: str) -> bool:
    """Say whether importing a module, in a fresh process, imports torch."""
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    done = subprocess.run(  # noqa: S603 - our own interpreter, a module's name
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 or not done.stderr, done.stderr
    return done.returncode != 0


def descriptions(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the dotted name of every option and its description."""
    for name, field in model.model_fields.items():
        yield prefix + name, field.description or ""
        for inner in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                yield from descriptions(inner, f"{prefix}{name}.")


def sample_images(metadata: DatasetMetadata, seed: int = 0) -> ArrayImages:
    """Make a training set for a contract: noise around a color of each class.

    Args:
        metadata: How many images, of which classes and size (32 pixels if they differ).
        seed: Seed of the colors and the noise.
    """
    rng = np.random.default_rng(seed)
    height, width = metadata.size or (32, 32)
    labels = np.repeat(np.arange(len(metadata.classes), dtype=np.int64), metadata.train_per_class)
    colors = rng.integers(64, 192, (len(metadata.classes), 1, 1, 3))
    noise = rng.integers(-60, 61, (len(labels), height, width, 3))
    pixels = (colors[labels] + noise).astype(np.uint8)
    return ArrayImages(pixels, labels, [f"train/{index:06d}" for index in range(len(labels))])


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
    states = {"random": repr(random.getstate()).encode(), "numpy": repr(state[2:]).encode()}
    states["numpy"] += state[1].tobytes()
    if "torch" in sys.modules:
        states["torch"] = sys.modules["torch"].get_rng_state().numpy().tobytes()
    return states
