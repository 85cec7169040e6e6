"""What a benchmark costs, told before anything runs: image-steps and bytes on disk. No torch."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np

from backbench.benchmark.config import Benchmark
from backbench.data.cache import AUTO_LIMIT_BYTES, estimate_bytes, keeps
from backbench.data.files import MEMORY_LIMIT_BYTES
from backbench.data.listing import FileDataset
from backbench.estimate.sizes import backbone_size
from backbench.model import Plan, PluginUse, Stage, StageKind
from backbench.options.training import (
    LARGE_SIDE,
    BackboneOptions,
    SSLOptions,
    TrainingOptions,
    ViewOptions,
    image_side,
)
from backbench.plugin import (
    Attack,
    DatasetMetadata,
    DefenseInfo,
    EvaluatorInfo,
    PluginInfo,
    Split,
    SSLMethodInfo,
)
from backbench.plugin.registry import Registry
from backbench.poison.poisoning import choose

if TYPE_CHECKING:
    from rich.console import Console

#: Height and width that an image is taken to have where they differ: the usual ones of ImageNet.
USUAL_SIZE: Final = (375, 500)

#: Bytes of a line of a poison's manifest, and of an image's entry in the index of its dataset.
_MANIFEST_LINE, _INDEX_ENTRY = 330, 40

#: The forms of artifacts, as they are printed.
_DECODED, _POISONS, _ENCODERS = "decoded images", "poisoned images", "encoders"
_FEATURES, _PREDICTIONS = "features", "predictions at most"
_FORMS = (_DECODED, _POISONS, _ENCODERS, _FEATURES, _PREDICTIONS)

NOTE = (
    "image-step: one image, or tile of an image, forward through one network once, while "
    "training: images × epochs × passes"
)


@dataclass(frozen=True, slots=True)
class Training:
    """A stage that trains.

    Args:
        stage: The stage.
        options: How it trains.
        backbone: What it trains.
        metadata: The dataset.
        images: Number of images that it trains on.
        passes: How often each goes forward through a network at a step.
    """

    stage: Stage
    options: TrainingOptions
    backbone: BackboneOptions
    metadata: DatasetMetadata
    images: int
    passes: int

    @property
    def name(self) -> str:
        """Name of the plugin that trains."""
        return self.stage.plugin.name if self.stage.plugin else ""

    @property
    def images_shown(self) -> int:
        """How many images are shown in all epochs, one that is shown twice counted twice."""
        return self.options.epochs * self.options.epoch_images(self.images)

    @property
    def image_steps(self) -> int:
        """Images shown × passes."""
        return self.images_shown * self.passes

    @property
    def side(self) -> int:
        """Side in pixels at which images are seen."""
        views = getattr(self.options, "views", None)
        wanted = views.size if isinstance(views, ViewOptions) else None
        return image_side(self.metadata.size, wanted)


@dataclass(frozen=True, slots=True)
class Costs:
    """What the stages of a plan cost.

    Args:
        trainings: The stages that train, by key.
        forward: Images that a stage sends through a frozen encoder, by key.
        disk: Form and bytes of what a stage leaves, by key.
        notes: What is not counted.
    """

    trainings: Mapping[str, Training] = field(default_factory=dict)
    forward: Mapping[str, int] = field(default_factory=dict)
    disk: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def by_method(self, done: Collection[str]) -> dict[str, list[Training]]:
        """Return the trainings that are still to run, by the name of their plugin."""
        found: dict[str, list[Training]] = {}
        for key, training in self.trainings.items():
            if key not in done:
                found.setdefault(training.name, []).append(training)
        return found

    def bytes_by_form(self, done: Collection[str]) -> dict[str, int]:
        """Return the bytes that are still to be written, by form."""
        found = dict.fromkeys(_FORMS, 0)
        for key, (form, size) in self.disk.items():
            if key not in done:
                found[form] += size
        return {form: size for form, size in found.items() if size}

    def as_json(self, done: Collection[str]) -> dict[str, Any]:
        """Return what is still to do as JSON values."""
        return {
            "image_steps": {
                name: sum(one.image_steps for one in trainings)
                for name, trainings in self.by_method(done).items()
            },
            "forward": sum(count for key, count in self.forward.items() if key not in done),
            "bytes": self.bytes_by_form(done),
            "notes": self.notes,
        }


def costs_of(plan: Plan, benchmark: Benchmark, registry: Registry) -> Costs:
    """Say what the stages of a plan cost, each once.

    Args:
        plan: The plan.
        benchmark: What it was made from.
        registry: The installed plugins.
    """
    metadata = {
        key: benchmark.metadata[cell.name.dataset]
        for cell in plan.cells
        for key in cell.path
        if plan.stages[key].kind == StageKind.DATASET
    }
    counter = _Counter(plan, metadata, registry)
    counts: dict[StageKind, Callable[[str, Stage], None]] = {
        StageKind.DATASET: counter.dataset,
        StageKind.POISON: counter.poison,
        StageKind.PRETRAIN: counter.pretrain,
        StageKind.REPAIR: counter.repair,
        StageKind.FEATURES: counter.features,
        StageKind.EVALUATE: counter.evaluate,
    }
    for key, stage in plan.stages.items():
        if stage.kind in counts:
            counts[stage.kind](key, stage)
        else:
            counter.notes.append(f"what {stage.kind} stages cost is not known")
    return Costs(
        counter.trainings, counter.forward, counter.disk, tuple(dict.fromkeys(counter.notes))
    )


class _Counter:
    def __init__(
        self, plan: Plan, metadata: Mapping[str, DatasetMetadata], registry: Registry
    ) -> None:
        self._plan = plan
        self._metadata = metadata
        self._registry = registry
        self._uses: dict[int, tuple[PluginUse, Any, PluginInfo]] = {}
        self.trainings: dict[str, Training] = {}
        self.forward: dict[str, int] = {}
        self.disk: dict[str, tuple[str, int]] = {}
        self.notes: list[str] = []

    def dataset(self, key: str, stage: Stage) -> None:
        metadata = self._metadata[key]
        size = (metadata.train + metadata.val) * _INDEX_ENTRY
        data = self._files(stage)
        splits: dict[Split, int] = {"train": metadata.train, "val": metadata.val}
        for split, count in splits.items():
            height, width = metadata.size or (LARGE_SIDE, LARGE_SIDE)
            pixels = count * height * width * 3
            one_size = metadata.size is not None or split == "val"
            if data is not None and metadata.size is None:
                listed = data.listing.train if split == "train" else data.listing.val
                pixels = estimate_bytes(listed.paths, data.fit(split))
            if one_size and pixels <= MEMORY_LIMIT_BYTES:
                size += pixels + 8 * count
            elif data is not None and keeps(data.options.cache, pixels):
                size += pixels + 24 * count
            elif data is not None and data.options.cache == "auto":
                self.notes.append(_say_large(split, pixels))
        self.disk[key] = _DECODED, size

    def _files(self, stage: Stage) -> FileDataset | None:
        """Return the dataset of a stage, if its images are files."""
        use = stage.plugin
        if use is None:
            return None
        registered = self._registry.find(use.kind, use.name)
        implementation = registered.implementation()
        if not issubclass(implementation, FileDataset):
            return None
        made: FileDataset = implementation(
            registered.info.options.model_validate(dict(use.options))
        )
        return made

    def poison(self, key: str, stage: Stage) -> None:
        metadata, use = self._dataset(stage), stage.plugin
        if use is None or stage.seed is None:
            return
        options, _ = self._options(stage)
        attack: Attack = self._registry.find(use.kind, use.name).implementation()(options, metadata)
        labels = np.repeat(np.arange(len(metadata.classes)), metadata.train_per_class)
        poisons = len(choose(attack, labels, stage.seed))
        height, width = metadata.size or USUAL_SIZE
        if metadata.size is None:
            self.notes.append(
                f"{_POISONS} are taken to be {width} × {height} px, and not to be compressed"
            )
        size = poisons * (height * width * 3 + 8) + (poisons + metadata.val) * _MANIFEST_LINE
        self.disk[key] = _POISONS, size

    def pretrain(self, key: str, stage: Stage) -> None:
        options, info = self._options(stage)
        if not isinstance(options, SSLOptions):
            return
        metadata = self._dataset(stage)
        passes = cast("SSLMethodInfo", info).passes
        training = Training(stage, options, options.backbone, metadata, metadata.train, passes)
        self.trainings[key] = training
        self._encoder(key, training.backbone)

    def repair(self, key: str, stage: Stage) -> None:
        options, info = self._options(stage)
        backbone = self._backbone(stage)
        self._encoder(key, backbone)
        if not isinstance(options, TrainingOptions):
            self.notes.append(f"how long {info.name} takes is not known")
            return
        metadata = self._dataset(stage)
        # A defense that trains calls the share of clean images that it asks for so.
        images = int(getattr(options, "clean_fraction", 1.0) * metadata.train)
        passes = cast("DefenseInfo", info).passes
        self.trainings[key] = Training(stage, options, backbone, metadata, images, passes)

    def features(self, key: str, stage: Stage) -> None:
        metadata = self._dataset(stage)
        count = metadata.val if "poison" in stage.inputs else metadata.train + metadata.val
        self.forward[key] = count
        size = backbone_size(self._backbone(stage))
        if size is not None:
            self.disk[key] = _FEATURES, count * (4 * size.features + 8)

    def evaluate(self, key: str, stage: Stage) -> None:
        metadata = self._dataset(stage)
        slices = 2 if {"triggered", "poison"} & stage.inputs.keys() else 1
        bytes_each = 8 + slices * (2 * len(metadata.classes) + 4)
        self.disk[key] = _PREDICTIONS, metadata.val * bytes_each
        _, info = self._options(stage)
        if cast("EvaluatorInfo", info).reads == "images":
            self.notes.append(
                f"how often {info.name} looks at images, and how large its heads are, is not known"
            )

    def _encoder(self, key: str, backbone: BackboneOptions) -> None:
        size = backbone_size(backbone)
        if size is None:
            self.notes.append(f"the bytes of {backbone.name} and its features are not known")
        else:
            self.disk[key] = _ENCODERS, size.weights

    def _dataset(self, stage: Stage) -> DatasetMetadata:
        return next(self._metadata[key] for key in self._before(stage) if key in self._metadata)

    def _backbone(self, stage: Stage) -> BackboneOptions:
        kinds = ((key, self._plan.stages[key].kind) for key in self._before(stage))
        key = next(key for key, kind in kinds if kind == StageKind.PRETRAIN)
        return self.trainings[key].backbone

    def _before(self, stage: Stage) -> Iterator[str]:
        """Yield the stages that lead to a stage, those that run last first."""
        for key in stage.inputs.values():
            yield from reversed(self._plan.ancestors(key))

    def _options(self, stage: Stage) -> tuple[Any, Any]:
        """Return a stage's options and its plugin's record; those of one use are read once."""
        use = stage.plugin
        if use is None:
            raise TypeError(f"a {stage.kind} stage without a plugin")
        if id(use) not in self._uses:
            info = self._registry.find(use.kind, use.name).info
            self._uses[id(use)] = use, info.options.model_validate(dict(use.options)), info
        return self._uses[id(use)][1:]


def _say_large(split: str, pixels: int) -> str:
    return (
        f"{_DECODED} of {split} would take {in_bytes(pixels)}, more than the "
        f'{in_bytes(AUTO_LIMIT_BYTES)} that cache = "auto" keeps: they are decoded at every epoch '
        '(cache = "full" keeps them; cache = 256 keeps smaller ones, and gives other numbers)'
    )


# -- on paper ----------------------------------------------------------------------------------


def print_costs(costs: Costs, done: Collection[str], console: Console) -> None:
    """Print what is still to do: image-steps by method, bytes by form of artifact."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("Training")
    for heading in ("to run", "images × epochs", "passes", "image-steps"):
        table.add_column(heading, justify="right")
    methods = costs.by_method(done)
    for name, trainings in methods.items():
        images_shown = sum(one.images_shown for one in trainings)
        table.add_row(
            name,
            str(len(trainings)),
            amount(images_shown),
            str(trainings[0].passes),
            amount(sum(one.image_steps for one in trainings)),
        )
    if methods:
        console.print(table)
        console.print(NOTE, style="dim", soft_wrap=True)
    forward = sum(count for key, count in costs.forward.items() if key not in done)
    if forward:
        text = f"features, still to be computed: of {amount(forward)} images, once forward each"
        console.print(text, soft_wrap=True)
    sizes = costs.bytes_by_form(done)
    if sizes:
        forms = ", ".join(f"{form} {in_bytes(size)}" for form, size in sizes.items())
        total = in_bytes(sum(sizes.values()))
        console.print(f"on disk, still to be written: {total} ({forms})", soft_wrap=True)
    for note in costs.notes:
        console.print(note, style="dim", soft_wrap=True)


def amount(number: float) -> str:
    """Format a large number: ``950``, ``24.0 thousand``, ``25.3 million``, ``5.07 billion``."""
    for size, word in ((10**9, "billion"), (10**6, "million"), (10**4, "thousand")):
        if number >= size:
            unit = 1000 if word == "thousand" else size
            return f"{_three_digits(number / unit)} {word}"
    return f"{number:.0f}"


def in_bytes(number: float) -> str:
    """Format a number of bytes, in powers of a thousand: ``44.7 MB``."""
    for size, unit in ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if number >= size:
            return f"{_three_digits(number / size)} {unit}"
    return f"{number:.0f} B"


def _three_digits(value: float) -> str:
    decimals = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:.{decimals}f}"
