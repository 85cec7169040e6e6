"""Instances that meet in a cell and do not go together; datasets that they do not work on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, cast

from backbench.benchmark.instances import Instance, Instances
from backbench.benchmark.protocols.card import Protocol
from backbench.benchmark.protocols.rules import data_problems, method_problem
from backbench.errors import Problem
from backbench.model import NONE, Axis, CellName
from backbench.options.backbones import BackboneOptions
from backbench.options.training import EvaluatorOptions, GuardOptions, SSLOptions
from backbench.plugin import Attack, DatasetMetadata
from backbench.plugin.infos import DEFENSE_SHAPES

if TYPE_CHECKING:
    from backbench.options.training import TrainingOptions
    from backbench.plugin import AttackInfo, Dataset, DefenseInfo


def dataset_problems(
    instances: Instances,
    datasets: Mapping[str, Dataset],
    metadata: Mapping[str, DatasetMetadata],
    cells: Iterable[CellName],
    *,
    trains: bool,
) -> Iterator[Problem]:
    """Yield what does not work on the datasets that it meets.

    Args:
        instances: The instances by axis and name.
        datasets: The datasets that could be opened, and so are their ``metadata``.
        metadata: Their metadata.
        cells: The cells.
        trains: Whether methods and defenses are checked.
    """
    cells = tuple(cells)
    yield from _label_problems(instances, metadata, cells)
    for name in dict.fromkeys(cell.evaluated for cell in cells if cell.attack != NONE):
        if name in metadata and (sentence := cut_off_problem(datasets[name], metadata[name])):
            yield Problem(instances["datasets"][name].path, sentence)
    yield from _instance_problems(instances, metadata, cells, trains=trains)


def cut_off_problem(dataset: Dataset, metadata: DatasetMetadata) -> str:
    """Return why encoders may not see a trigger on the validation images; empty if they do."""
    if metadata.size is not None and metadata.size[0] == metadata.size[1]:
        return ""
    from backbench.data.file_dataset import FileDataset  # which imports NumPy and Pillow

    size, remedy = metadata.size, "make them square"
    if isinstance(dataset, FileDataset):
        size, remedy = dataset.val_image_size(), "set val_size or resize"
    if size is None or size[0] == size[1]:
        return ""
    height, width = size
    return (
        f"the validation images are {width} x {height} px, and a trigger may lie outside the "
        f"center square that encoders see: {remedy}"
    )


def pair_problems(
    instances: Instances,
    metadata: Mapping[str, DatasetMetadata],
    cells: Iterable[CellName],
    *,
    trains: bool,
) -> Iterator[Problem]:
    """Yield what does not work with the method, the attack or the defense that it meets.

    Args:
        instances: The instances by axis and name.
        metadata: Metadata of the datasets that could be opened.
        cells: The cells.
        trains: Whether methods are trained.
    """
    cells = tuple(cells)
    yield from _evaluator_problems(instances, cells)
    yield from _guard_problems(instances, cells) if trains else ()
    yield from _shape_problems(instances, cells)
    yield from _aim_problems(instances, cells)
    yield from _backbone_problems(instances, metadata, cells) if trains else ()


def _label_problems(
    instances: Instances, metadata: Mapping[str, DatasetMetadata], cells: Iterable[CellName]
) -> Iterator[Problem]:
    """Yield the datasets without labels on which encoders would be evaluated."""
    for name in dict.fromkeys(cell.evaluated for cell in cells):
        if name in metadata and not metadata[name].labelled:
            sentence = (
                "has no labels: name the datasets on which its encoders are evaluated, "
                'downstreams = ["…"], in the [[matrix]]'
            )
            yield Problem(instances["datasets"][name].path, sentence)


def _instance_problems(
    instances: Instances,
    metadata: Mapping[str, DatasetMetadata],
    cells: Iterable[CellName],
    *,
    trains: bool,
) -> Iterator[Problem]:
    """Yield the instances that do not work on the datasets that they meet."""
    pairs = [
        (axis, part, dataset)
        for cell in cells
        for axis, dataset in _meetings(instances, cell, trains=trains)
        for part in axis.parts(getattr(cell, axis))
    ]
    for axis, name, dataset in dict.fromkeys(pairs):
        instance = instances[axis.plural].get(name)
        known = metadata.get(dataset)
        if axis is Axis.EVALUATOR and known and not known.labelled:
            continue  # the dataset's own problem
        if instance is not None and known:
            for sentence in instance.problems(instance.options.problems, known):
                yield Problem(instance.path, f"on dataset {dataset!r}: {sentence}")


def _meetings(instances: Instances, cell: CellName, *, trains: bool) -> Iterator[tuple[Axis, str]]:
    """Yield the datasets that the instances of a cell meet, each by the axis of the instance."""
    if trains:
        yield from ((axis, cell.dataset) for axis in (Axis.METHOD, Axis.DEFENSE))
    attack = instances["attacks"].get(cell.attack)
    if attack and cast("AttackInfo", attack.registered.info).acts_on == "dataset":
        yield Axis.ATTACK, cell.dataset
    yield from ((axis, cell.evaluated) for axis in (Axis.ATTACK, Axis.EVALUATOR))


def _evaluator_problems(instances: Instances, cells: Iterable[CellName]) -> Iterator[Problem]:
    """Yield the evaluators that cannot look through the encoders of the methods that they meet."""
    for name, method in dict.fromkeys((cell.evaluator, cell.method) for cell in cells):
        evaluator, trained = instances["evaluators"].get(name), instances["methods"].get(method)
        backbone = getattr(trained and trained.options, "backbone", None)
        if evaluator is None or not isinstance(backbone, BackboneOptions):
            continue
        if isinstance(evaluator.options, EvaluatorOptions):
            for sentence in evaluator.problems(evaluator.options.encoder_problems, backbone):
                yield Problem(evaluator.path, f"on method {method!r}: {sentence}")


def _guard_problems(instances: Instances, cells: Iterable[CellName]) -> Iterator[Problem]:
    """Yield the defenses of the training that cannot wrap the methods that they meet."""
    met = dict.fromkeys(
        (part, cell.method) for cell in cells for part in Axis.DEFENSE.parts(cell.defense)
    )
    for name, method in met:
        defense, trained = instances["defenses"].get(name), instances["methods"].get(method)
        if defense is None or trained is None or not isinstance(defense.options, GuardOptions):
            continue
        if isinstance(trained.options, SSLOptions):
            for sentence in defense.problems(defense.options.method_problems, trained.options):
                yield Problem(defense.path, f"on method {method!r}: {sentence}")


def _shape_problems(instances: Instances, cells: Iterable[CellName]) -> Iterator[Problem]:
    """Yield the defenses that act on another thing than the attacks, or than their chain allows."""
    met = dict.fromkeys((cell.attack, cell.defense) for cell in cells)
    for chain in dict.fromkeys(defense for _, defense in met):
        yield from _chain_problems(instances, chain)
    for attack, defense in dict.fromkeys(
        (attack, part) for attack, chain in met for part in Axis.DEFENSE.parts(chain)
    ):
        one, other = instances["attacks"].get(attack), instances["defenses"].get(defense)
        if one is None or other is None:
            continue
        acts_on = cast("AttackInfo", one.registered.info).acts_on
        if acts_on == "encoder" and "dataset" in _shapes(other):
            sentence = (
                f"on attack {attack!r}: the attack changes the encoder and poisons no image, so "
                "that there is nothing to drop from the training set: exclude these cells"
            )
            yield Problem(other.path, sentence)


def _aim_problems(instances: Instances, cells: Iterable[CellName]) -> Iterator[Problem]:
    """Yield the attacks that find their target class, and are evaluated on another dataset."""
    for name in dict.fromkeys(cell.attack for cell in cells if cell.downstream != NONE):
        attack = instances["attacks"].get(name)
        if attack is None or cast("AttackInfo", attack.registered.info).acts_on != "dataset":
            continue
        if attack.registered.implementation().aim is not Attack.aim:
            sentence = (
                "the attack finds its target class among the images that it poisons, so that it "
                "has none on a downstream dataset: exclude these cells"
            )
            yield Problem(attack.path, sentence)


def _chain_problems(instances: Instances, chain: str) -> Iterator[Problem]:
    """Yield why the defenses of a chain cannot act after each other."""
    names = Axis.DEFENSE.parts(chain)
    acting = [(name, one) for name in names if (one := instances["defenses"].get(name))]
    for shape in DEFENSE_SHAPES:
        several = [name for name, one in acting if shape in _shapes(one)]
        if len(several) > 1:
            sentence = (
                f"{chain!r}: {' and '.join(several)} both act on the {shape}, so that their order "
                "does not follow from what they act on: chain defenses that act on different things"
            )
            yield Problem("matrix", sentence)
    if len(names) > 1 and NONE in names:
        yield Problem("matrix", f"{chain!r}: leave {NONE!r} out of the chain")


def _shapes(defense: Instance) -> tuple[str, ...]:
    return cast("DefenseInfo", defense.registered.info).shapes


def _backbone_problems(
    instances: Instances, metadata: Mapping[str, DatasetMetadata], cells: Iterable[CellName]
) -> Iterator[Problem]:
    """Yield models of timm and plugins' backbones that cannot be built, or see the images.

    It imports torch for them.
    """
    met = [
        (one.method, by, one.dataset)
        for one in cells
        for by in (one.method, *Axis.DEFENSE.parts(one.defense))
    ]
    for name, by, dataset in dict.fromkeys(met):
        method = instances["methods"].get(name)
        instance = method if by == name else instances["defenses"].get(by)
        backbone = getattr(instance and instance.options, "backbone", None)
        if not isinstance(backbone, BackboneOptions) or backbone.has_stages:
            continue
        if instance and method and dataset in metadata:
            from backbench.nn.backbones import backbone_problem

            side = cast("TrainingOptions", method.options).view_side(metadata[dataset].size)
            if sentence := backbone_problem(backbone, side):
                path = f"{instance.path}.backbone.name"
                yield Problem(path, f"on dataset {dataset!r}: {sentence}")


def protocol_problems(
    protocol: Protocol,
    instances: Instances,
    metadata: Mapping[str, DatasetMetadata],
    cells: Iterable[CellName],
) -> Iterator[Problem]:
    """Yield what only the whole benchmark shows: the datasets, and who evaluates whom."""
    for name, known in metadata.items():
        path = instances["datasets"][name].path
        yield from (Problem(path, sentence) for sentence in data_problems(protocol, known))
    for evaluator, name in dict.fromkeys((cell.evaluator, cell.method) for cell in cells):
        method = instances["methods"].get(name)
        if method is not None and evaluator in instances["evaluators"]:
            sentence = method_problem(protocol, evaluator, name, method.registered.info.name)
            if sentence:
                yield Problem(f"evaluators.{evaluator}", sentence)
