"""Costs of the stages of a plan: image-steps, and bytes on disk. No torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from rich.filesize import decimal

from backbench.benchmark.config import Benchmark
from backbench.data.limits import AUTO_LIMIT_BYTES, MEMORY_LIMIT_BYTES, keeps
from backbench.model import Plan, PluginUse, Stage, StageKind
from backbench.options.backbones import BackboneOptions
from backbench.options.training import SSLOptions, TrainingOptions
from backbench.options.views import LARGE_SIDE
from backbench.plugin import DatasetMetadata, DefenseInfo, Split, SSLMethodInfo
from backbench.plugin.registry import Registry
from backbench.store import provenance
from backbench.store.integrity import damaged
from backbench.store.store import Store
from backbench.system.json_text import to_json
from backbench.training.devices import may_have_gpu

if TYPE_CHECKING:
    from backbench.data.file_dataset import FileDataset
    from backbench.plugin import Dataset
    from backbench.store.records import Record

#: Height and width that an image is taken to have where they differ: the usual ones of ImageNet.
USUAL_SIZE: Final = (375, 500)

#: Bytes of an image's entry in the index of its dataset.
_INDEX_ENTRY: Final = 40

#: Stages that train.
_TRAINING: Final = frozenset({StageKind.PRETRAIN, StageKind.REPAIR, StageKind.FIT_DETECTOR})

#: Stages after which nothing is trained.
_LAST: Final = frozenset({StageKind.FEATURES, StageKind.FIT, StageKind.PREDICT})

#: Stages in which plugins do what no model of costs knows, unless they train by the loop.
_UNKNOWN: Final = frozenset(
    {StageKind.FIT_TRIGGER, StageKind.IMPLANT, StageKind.SANITIZE, StageKind.INSPECT}
    | {StageKind.REPAIR, StageKind.FIT_DETECTOR, StageKind.DETECT}
)

#: Records of each sort of stage that are read, at most.
_RECORDS: Final = 8


@dataclass(frozen=True)
class Training:
    """Training of a plugin; an image goes ``passes`` times through a network at a step.

    ``guard`` is the defense that wraps the method that is trained, if there is one.
    """

    plugin: PluginUse
    options: TrainingOptions
    backbone: BackboneOptions
    metadata: DatasetMetadata
    images: int
    passes: int
    guard: PluginUse | None = None

    @property
    def name(self) -> str:
        """Name of the plugin that trains, and of the defense that wraps it."""
        return f"{self.plugin.name} with {self.guard.name}" if self.guard else self.plugin.name

    @cached_property
    def images_shown(self) -> int:
        """Number of images shown in all epochs; an image that is shown twice counts twice."""
        return self.options.epochs * self.options.epoch_images(self.images)

    @property
    def image_steps(self) -> int:
        """Images shown × passes."""
        return self.images_shown * self.passes

    @property
    def side(self) -> int:
        """Side in pixels at which images are seen."""
        return self.options.view_side(self.metadata.size)

    @cached_property
    def sort(self) -> str:
        """Everything that decides how long an image takes."""
        options = self.options.identity()
        for name in ("epochs", "clean_fraction", "schedule"):
            options.pop(name, None)
        backbone, size = self.backbone.identity(), self.metadata.size
        guard = self.guard and dict(self.guard.identity)
        sort = (self.name, options, backbone, self.side, size, guard)
        return to_json(sort, sort_keys=True)


@dataclass(frozen=True, slots=True)
class Seen:
    """Measurements in the records of the stages of a sort.

    Args:
        size: Bytes of an artifact, mean.
        walls: Type of device and wall time, seconds, of each stage that was made on this
            processor: of one image of a training, else of the whole stage.
        anywhere: The same of each stage on any machine, with the name of the GPU or processor.
    """

    size: float
    walls: tuple[tuple[str, float], ...] = ()
    anywhere: tuple[tuple[str, float], ...] = ()

    def seconds(self, device: str) -> list[float]:
        """Return the seconds on a type of device, ``cpu`` or ``cuda``."""
        return [wall for name, wall in self.walls if name == device]


@dataclass(frozen=True, slots=True)
class Costs:
    """Costs, by key, of the stages of a plan that are still to run; ``seen`` is by their sort.

    Args:
        stages: These stages.
        trainings: Those of them that train.
        sorts: The sort of each.
        seen: Measurements of a sort in the store's records.
        decoded: Bytes of decoded images that a dataset's stage will keep.
        notes: Sentences on what is not kept.
    """

    stages: Mapping[str, Stage]
    trainings: Mapping[str, Training]
    sorts: Mapping[str, str]
    seen: Mapping[str, Seen]
    decoded: Mapping[str, int]
    notes: tuple[str, ...] = ()

    def of(self, key: str) -> dict[str, float | None]:
        """Return what is known of a stage that is still to run; of another, nothing.

        Returns:
            ``image_steps``, of a training; ``seconds`` on this kind of processor, the mean of the
            records of its sort: ``None`` where the store has none.
        """
        if key not in self.stages:
            return {}
        training, seen = self.trainings.get(key), self.seen.get(self.sorts[key])
        walls = seen.seconds("cuda" if may_have_gpu() else "cpu") if seen else []
        units = training.images_shown if training else 1
        seconds = round(units * math.fsum(walls) / len(walls), 3) if walls else None
        return {"image_steps": training.image_steps if training else None, "seconds": seconds}

    def measured(self, key: str, device: str) -> tuple[float | None, list[str]]:
        """Return the seconds of a stage by the records of its sort, whatever machine wrote them.

        Args:
            key: Key of a stage that is still to run.
            device: Part of the name of the GPU or processor that the records are of, in any case.

        Returns:
            The mean, ``None`` without a record; and the name in each record.
        """
        seen, training = self.seen.get(self.sorts[key]), self.trainings.get(key)
        walls = [one for one in (seen.anywhere if seen else ()) if device.lower() in one[0].lower()]
        if not walls:
            return None, []
        units = training.images_shown if training else 1
        mean = math.fsum(wall for _, wall in walls) / len(walls)
        return units * mean, [name for name, _ in walls]

    def by_method(self) -> dict[str, list[Training]]:
        """Return the trainings by the name of their plugin."""
        found: dict[str, list[Training]] = {}
        for training in self.trainings.values():
            found.setdefault(training.name, []).append(training)
        return found

    def unknown(self) -> dict[str, int]:
        """Return how many stages there are of each sort whose time nothing tells, by name.

        They are those in which a plugin works, that do not train by this harness's loop, and of
        whose sort the store has no record.
        """
        found: dict[str, int] = {}
        for key, stage in self.stages.items():
            free = stage.kind not in _UNKNOWN or key in self.trainings
            if stage.plugin is not None and not free and self.sorts[key] not in self.seen:
                name = f"{stage.kind} {stage.plugin.name}"
                found[name] = found.get(name, 0) + 1
        return found

    def bytes_by_kind(self) -> dict[str, int | None]:
        """Return the bytes to be written by kind of stage; ``None`` where no record has them."""
        found: dict[str, int | None] = {}
        for key, stage in self.stages.items():
            seen, before = self.seen.get(self.sorts[key]), found.get(stage.kind.value, 0)
            recorded = None if seen is None else round(seen.size)
            size = self.decoded.get(key, recorded)
            found[stage.kind.value] = None if size is None or before is None else before + size
        return found

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "image_steps": {
                name: sum(one.image_steps for one in trainings)
                for name, trainings in self.by_method().items()
            },
            "bytes": self.bytes_by_kind(),
            "unknown": self.unknown(),
            "notes": self.notes,
        }


def costs_of(plan: Plan, benchmark: Benchmark, registry: Registry, store: Store) -> Costs:
    """Return the costs of the stages of a plan that are not in the store, each once."""
    names = _datasets(plan, benchmark)
    backbones: dict[str, BackboneOptions] = {}
    trainings: dict[str, Training] = {}
    known: dict[tuple[int, ...], Training | None] = {}  # few, where a plan has many stages
    added: dict[tuple[int, int], int] = {}  # likewise
    decoded: dict[str, int] = {}
    notes: list[str] = []
    for key, stage in plan.stages.items():  # each after those that it reads
        if stage.kind in _LAST:
            continue
        if stage.kind is StageKind.DATASET:
            name = names[key]
            dataset, data = benchmark.datasets[name], benchmark.metadata[name]
            decoded[key] = _decoded_bytes(dataset, data, notes)
            continue
        inputs = stage.inputs.values()
        backbone = next((backbones[one] for one in inputs if one in backbones), None)
        if stage.kind in _TRAINING:
            data = benchmark.metadata[names[stage.inputs["dataset"]]]
            poison = plan.stages.get(stage.inputs.get("poison", ""))
            attack = poison.plugin if poison and stage.kind is StageKind.PRETRAIN else None
            poisoned = id(attack), id(data)
            if poisoned not in added:
                added[poisoned] = _added(attack, data, registry) if attack else 0
            more = added[poisoned]
            asked = id(stage.plugin), id(stage.guard), id(data), id(backbone), more
            if asked not in known:
                known[asked] = _training(stage, data, backbone, registry, more)
            if (training := known[asked]) is not None:
                trainings[key], backbone = training, training.backbone
        if backbone is not None:
            backbones[key] = backbone
    sorts = {key: _sort(stage, trainings.get(key)) for key, stage in plan.stages.items()}
    unusable = damaged(store, plan.stages)
    done = store.done() - unusable.keys()
    left = {key: stage for key, stage in plan.stages.items() if key not in done}
    return Costs(
        left,
        {key: one for key, one in trainings.items() if key in left},
        sorts,
        _seen(store, [key for key in sorts if key in done], sorts, trainings),
        {key: size for key, size in decoded.items() if key in left},
        (*dict.fromkeys(notes), *unusable.values()),
    )


def _datasets(plan: Plan, benchmark: Benchmark) -> dict[str, str]:
    """Return the dataset instance of each stage of a dataset."""
    found: dict[str, str] = {}
    for cell in plan.cells:
        sets = [key for key in cell.path[:2] if plan.stages[key].kind is StageKind.DATASET]
        found[sets[0]], found[sets[-1]] = cell.name.dataset, cell.name.evaluated
    uses = {name: one.use() for name, one in benchmark.instances["datasets"].items()}
    for key, stage in plan.stages.items():
        if stage.kind is StageKind.DATASET and key not in found:  # only an attack uses it
            found[key] = next(name for name, use in uses.items() if use == stage.plugin)
    return found


def _training(
    stage: Stage,
    metadata: DatasetMetadata,
    backbone: BackboneOptions | None,
    registry: Registry,
    added: int,
) -> Training | None:
    """Return how a stage trains; ``None`` if it does not train by this harness's loop."""
    use, guard = stage.plugin, stage.guard
    if use is None:
        return None
    info = registry.find(use.kind, use.name).info
    options = info.options.model_validate(dict(use.options))
    if isinstance(options, SSLOptions):
        backbone = options.backbone
    if backbone is None or not isinstance(options, TrainingOptions):
        return None
    images = options.training_images(metadata.train) + added
    infos = [info, *([registry.find(guard.kind, guard.name).info] if guard else [])]
    passes = math.prod(one.passes for one in infos if isinstance(one, SSLMethodInfo | DefenseInfo))
    return Training(use, options, backbone, metadata, images, passes, guard)


def _added(use: PluginUse, metadata: DatasetMetadata, registry: Registry) -> int:
    """Return how many poisons an attack adds to the images of a dataset."""
    options = registry.find(use.kind, use.name).info.options.model_validate(dict(use.options))
    return options.added_images(metadata)


def _sort(stage: Stage, training: Training | None) -> str:
    if training is not None:
        return training.sort
    name = stage.plugin.name if stage.plugin else ""
    return " ".join((stage.kind.value, name, *sorted(stage.inputs)))


def _seen(
    store: Store, keys: list[str], sorts: Mapping[str, str], trainings: Mapping[str, Training]
) -> dict[str, Seen]:
    """Read some records of each sort."""
    read: dict[str, list[Record]] = {}
    for key in keys:
        records = read.setdefault(sorts[key], [])
        record = store.readable(key) if len(records) < _RECORDS else None
        if record is not None:
            records.append(record)
    found = {}
    for sort, records in read.items():
        sizes = [sum(file["bytes"] for file in one.files.values()) for one in records]
        walls, anywhere = [], []
        for one in records:
            if one.resumed:  # its seconds are those of its last epochs alone
                continue
            units = trainings[one.key].images_shown if one.key in trainings else 1
            processor, gpu = (one.provenance.get(name) for name in ("processor", "gpu"))
            anywhere.append((str(gpu or processor), one.wall_s / units))
            if processor == provenance.processor():
                device = str(one.provenance.get("device")).partition(":")[0]
                walls.append((device, one.wall_s / units))
        if sizes:
            found[sort] = Seen(math.fsum(sizes) / len(sizes), tuple(walls), tuple(anywhere))
    return found


def _with_files(dataset: Dataset) -> FileDataset | None:
    """Return a dataset whose images are files; ``None`` of another one, which needs no NumPy."""
    if not hasattr(type(dataset), "listing"):
        return None
    from backbench.data.file_dataset import FileDataset

    return dataset if isinstance(dataset, FileDataset) else None


def _decoded_bytes(dataset: Dataset, metadata: DatasetMetadata, notes: list[str]) -> int:
    """Return the bytes of the images that a dataset's stage keeps decoded."""
    data = _with_files(dataset)
    size = (metadata.train + metadata.val) * _INDEX_ENTRY
    splits: dict[Split, int] = {"train": metadata.train, "val": metadata.val}
    for split, count in splits.items():
        height, width = metadata.size or (LARGE_SIDE, LARGE_SIDE)
        pixels = count * height * width * 3
        one_size = metadata.size is not None or split == "val"
        if data is not None and metadata.size is None:
            from backbench.data.files import estimate_bytes

            listed = data.listing.train if split == "train" else data.listing.val
            pixels = estimate_bytes(listed.paths, data.fit(split))
        if one_size and pixels <= MEMORY_LIMIT_BYTES:
            size += pixels + 8 * count
        elif data is not None and keeps(data.options.cache, pixels):
            size += pixels + 24 * count
        elif data is not None and data.options.cache == "auto":
            notes.append(
                f"decoded images of {split} would take {decimal(pixels)}, more than the "
                f'{decimal(AUTO_LIMIT_BYTES)} that cache = "auto" keeps: they are decoded at '
                'every epoch (cache = "full" keeps them; cache = 256 keeps smaller ones, and '
                "gives other numbers)"
            )
    return size
