"""Encoders from elsewhere as values of the matrix: ``[encoders.NAME]``."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

from backbench.benchmark.file import EncoderTable
from backbench.benchmark.instances import Instance, Instances
from backbench.benchmark.protocols.card import Protocol
from backbench.benchmark.protocols.imports import METHODS, import_problems
from backbench.benchmark.protocols.rules import method_problem
from backbench.errors import Problem, UsageError
from backbench.external.encoder_options import ImportOptions
from backbench.external.imported import AnyImported, ExternalEncoder, open_encoder
from backbench.external.remembered import Remembered
from backbench.model import Axis, CellName
from backbench.options.training import EvaluatorOptions
from backbench.options.views import image_side
from backbench.plugin import DatasetMetadata, DefenseInfo
from backbench.system.files import from_home


def open_encoders(
    tables: Mapping[str, EncoderTable],
    folder: Path,
    cells: Iterable[CellName],
    metadata: Mapping[str, DatasetMetadata],
    problems: list[Problem],
    *,
    remembered: Remembered,
    quiet: Collection[str] = (),
) -> tuple[dict[str, ExternalEncoder], list[str]]:
    """Read the encoders that the cells of a benchmark name.

    Args:
        tables: The tables of the file, by name.
        folder: Where relative paths start.
        cells: The cells.
        metadata: Metadata of the datasets that could be opened.
        problems: Gets what is wrong.
        remembered: What files are known to be.
        quiet: Names of the encoders on which nothing is noted.

    Returns:
        The encoders by name, and notes on what was taken of their files.
    """
    sides: dict[str, set[int]] = {}
    for cell in cells:
        if cell.method in tables:
            known = metadata.get(cell.evaluated)
            sides.setdefault(cell.method, set()).update(
                {image_side(known.size, None)} if known else ()
            )
    found: dict[str, ExternalEncoder] = {}
    notes: list[str] = []
    for name, own in sides.items():
        path, table = f"encoders.{name}", tables[name]
        if len(own) > 1 and table.image_size is None:
            given = " and ".join(map(str, sorted(own)))
            sentence = f"is missing: its datasets have images of {given} px"
            problems.append(Problem(f"{path}.image_size", sentence))
            continue
        opened: list[AnyImported] = []
        for key, file in (("weights", table.weights), ("control", table.control)):
            if file is None:
                continue
            try:
                side = min(own, default=None)
                encoder, said = _open(table, folder / from_home(file), side, remembered)
            except UsageError as error:
                problems.append(Problem(f"{path}.{key}", _without_dashes(str(error))))
            else:
                opened.append(encoder)
                notes += [f"{path}.{key}: {one}" for one in said if name not in quiet]
        if len(opened) == 1 + (table.control is not None):
            found[name] = ExternalEncoder(*opened)
    return found, notes


def _open(
    table: EncoderTable, path: Path, side: int | None, remembered: Remembered
) -> tuple[AnyImported, list[str]]:
    path, how = path.absolute(), table.model_dump(mode="json", exclude={"weights", "control"})
    how["usual_size"] = side or image_side(None, None)
    return remembered.opened(path, how, lambda: open_encoder(path, **how))


def _without_dashes(sentence: str) -> str:
    """Return a sentence on options of the command line as a sentence on keys of a table."""
    return re.sub(r"--([a-z]+(?:-[a-z]+)*)", lambda match: match[1].replace("-", "_"), sentence)


def encoder_problems(
    encoders: Mapping[str, ExternalEncoder],
    instances: Instances,
    cells: Iterable[CellName],
    protocol: Protocol | None,
    metadata: Mapping[str, DatasetMetadata],
) -> Iterator[Problem]:
    """Yield the defenses, evaluators and cards that do not go with an encoder from elsewhere."""
    met = [one for one in cells if one.method in encoders]
    for name, defense in dict.fromkeys(
        (one.method, part) for one in met for part in Axis.DEFENSE.parts(one.defense)
    ):
        yield from _training_problems(name, instances["defenses"].get(defense))
    for name, evaluator in dict.fromkeys((one.method, one.evaluator) for one in met):
        instance, options = instances["evaluators"].get(evaluator), encoders[name].own.options
        if instance is not None and isinstance(options, ImportOptions):
            yield from _evaluator_problems(name, options, instance, protocol)
    for name, dataset in dict.fromkeys((one.method, one.evaluated) for one in met):
        options = encoders[name].own.options
        if protocol and isinstance(options, ImportOptions) and dataset in metadata:
            side = image_side(metadata[dataset].size, None)
            for sentence in import_problems(protocol, options, side):
                yield Problem(f"encoders.{name}", f"protocol {protocol.id}: {sentence}")


def _training_problems(name: str, defense: Instance | None) -> Iterator[Problem]:
    if defense is None or not isinstance(defense.registered.info, DefenseInfo):
        return
    trains = {"training", "dataset"} & {*defense.registered.info.shapes}
    if trains:
        sentence = (
            f"on encoder {name!r}: the defense acts on the {min(trains)}, and this encoder was "
            "trained elsewhere: exclude these cells"
        )
        yield Problem(defense.path, sentence)


def _evaluator_problems(
    name: str, options: ImportOptions, evaluator: Instance, protocol: Protocol | None
) -> Iterator[Problem]:
    if isinstance(evaluator.options, EvaluatorOptions):
        check = evaluator.options.encoder_problems
        for sentence in evaluator.problems(check, options.backbone):
            yield Problem(evaluator.path, f"on encoder {name!r}: {sentence}")
    if protocol is not None and evaluator.name in protocol.evaluators:
        plugin = METHODS.get(options.layout, "")
        wrong = method_problem(protocol, evaluator.name, name, plugin)
        if wrong is not None:
            yield Problem(evaluator.path, wrong)
