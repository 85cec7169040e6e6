"""A dataset of which the tests say what it is, and plugins of a stranger."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from backbench.data.classes import class_list
from backbench.options.training import SSLOptions
from backbench.plugin import (
    AttackInfo,
    Dataset,
    DatasetInfo,
    DatasetMetadata,
    Field,
    Options,
    Split,
    SSLMethodInfo,
    hookimpl,
)
from backbench.plugin.packages import Origin
from backbench.plugin.registry import Registry, load_registry

CIFAR = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


class CountsOptions(Options):
    """What the dataset says of itself."""

    classes: tuple[str, ...] = Field(description="class names; a single one names a shipped list")
    train: int = Field(description="number of training images")
    val: int = Field(description="number of validation images")
    side: int | None = Field(None, description="side of all images")


class Counts(Dataset):
    """A dataset without images."""

    def metadata(self) -> DatasetMetadata:
        """Say what the options say."""
        given = self.options
        classes = given.classes if len(given.classes) > 1 else class_list(given.classes[0])
        each = given.train // len(classes)
        return DatasetMetadata(
            classes=tuple(sorted(classes)),
            train=given.train,
            val=given.val,
            size=None if given.side is None else (given.side, given.side),
            train_per_class=(each,) * len(classes),
        )

    def fingerprint(self, hash_file: Callable[[str], str]) -> str:
        """Return any string."""
        return "counts"

    def load(self, split: Split, *, verify: bool = True) -> NoReturn:
        """Refuse."""
        raise NotImplementedError


class WidthOptions(Options):
    """Options that are called like those of a card, and are another plugin's."""

    width: int = Field(3, description="another width")


class Stranger:
    """Plugins that do not come with backbench."""

    @hookimpl
    def register_datasets(self) -> Iterable[DatasetInfo]:
        """Announce the dataset."""
        yield DatasetInfo(
            name="counts", summary="Counts.", target=f"{__name__}:Counts", options=CountsOptions
        )

    @hookimpl
    def register_attacks(self) -> Iterable[AttackInfo]:
        """Announce an attack."""
        yield AttackInfo(name="own", summary="Own.", target="own:Own", options=WidthOptions)

    @hookimpl
    def register_ssl_methods(self) -> Iterable[SSLMethodInfo]:
        """Announce a method with a backbone and one without."""
        yield SSLMethodInfo(name="theirs", summary="Theirs.", target="own:A", options=SSLOptions)
        yield SSLMethodInfo(name="plain", summary="Plain.", target="own:B", options=WidthOptions)


def registry_with_strangers() -> Registry:
    """Return the installed plugins and the stranger's."""
    registry = load_registry()
    registry.add(Stranger(), Origin("stranger", "1", "own"))
    return registry


def in100(**changes: Any) -> dict[str, Any]:
    """Return the tables of a benchmark that follows saha2022-in100@1."""
    tables: dict[str, Any] = {
        "benchmark": {"protocol": "saha2022-in100@1"},
        "datasets": {
            "photographs": {
                "plugin": "counts",
                "classes": ["imagenet100"],
                "train": 126_689,
                "val": 5_000,
            }
        },
        "attacks": {"x": {"plugin": "patch", "target": "n02106550"}},
        "matrix": [
            {
                "datasets": "photographs",
                "attacks": "x",
                "methods": "rotnet",
                "evaluators": ["linear-1pct", "linear-10pct", "knn"],
            }
        ],
    }
    return tables | changes
