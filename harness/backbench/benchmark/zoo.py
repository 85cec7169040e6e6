"""A zoo in a benchmark file: ``[encoders] zoo = "DIR"``, and ``zoo`` as a value of ``methods``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from backbench.benchmark.instances import Instances
from backbench.errors import Problem, UsageError
from backbench.external.imported import AnyImported, ExternalEncoder
from backbench.external.zoo import Card, Zoo, read_zoo
from backbench.model import Axis, CellName, Origin
from backbench.system.files import from_home

#: Key of the folder in ``[encoders]``, and name of all its encoders in a matrix.
ZOO: Final = "zoo"

#: TOML path of the folder.
PATH: Final = f"encoders.{ZOO}"


class ZooOf:
    """The zoo that the tables of a benchmark file name; without one, nothing changes.

    Args:
        tables: The file's content, which stays as it is.
        folder: Where relative paths start.
        problems: Gets what is wrong with the zoo.
    """

    def __init__(self, tables: Mapping[str, Any], folder: Path, problems: list[Problem]) -> None:
        given = _zoo_in(tables)
        self._zoo = None if given is None else _opened(folder, given, problems)
        self._cards: Mapping[str, Card] = self._zoo.cards if self._zoo else {}
        found = {name: self._table(card) for name, card in self._cards.items()}
        #: The tables with one for each encoder of the zoo.
        self.tables = with_encoders(tables, found, problems)
        #: The origin of each encoder, by name.
        self.origins: dict[str, Origin] = {one.name: one.origin for one in self._cards.values()}
        #: Names that stand for several, by table of the axis.
        self.groups = group_of(self.origins) if self._zoo else {}
        #: Instances whose problem is known.
        self.broken = {f"{Axis.METHOD.plural}.{ZOO}"} if given and not self._zoo else set[str]()

    def _table(self, card: Card) -> dict[str, str]:
        names = {"weights": card.name, "control": card.control}
        folder = self._zoo.folder.absolute() if self._zoo else Path()
        return {key: str(folder / name) for key, name in names.items() if name is not None}

    def checked(
        self, encoders: Mapping[str, ExternalEncoder], problems: list[Problem]
    ) -> dict[str, ExternalEncoder]:
        """Return opened encoders, those of the zoo with their origins.

        ``problems`` gets the encoders whose weights are not those of their cards.
        """
        found = dict(encoders)
        for name in sorted(encoders.keys() & self._cards.keys()):
            card, encoder = self._cards[name], encoders[name]
            control = encoder.control
            if control is not None and card.control is not None:
                control = _with_origin(control, self._cards[card.control], problems)
            found[name] = ExternalEncoder(_with_origin(encoder.own, card, problems), control)
        return found

    def attack_problems(self, instances: Instances, cells: Iterable[CellName]) -> Iterator[Problem]:
        """Yield the attacks of the file that are not those that made the encoders they meet."""
        wrong = set[str]()
        for cell in cells:
            card, instance = self._cards.get(cell.method), instances["attacks"].get(cell.attack)
            if card is None or instance is None or cell.attack in wrong:
                continue
            if different := sorted(_differences(card.attack_use() or {}, instance.use().keyed)):
                wrong.add(cell.attack)
                sentence = (
                    f"encoder {card.name!r} of the zoo was made by another attack of this name, "
                    f"which differs in {', '.join(different)}: take its table from benchmark.toml "
                    "of the zoo"
                )
                yield Problem(instance.path, sentence)

    def notes(self, cells: Iterable[CellName]) -> Iterator[str]:
        """Yield a note on the zoo, with the number of its encoders in the matrix."""
        if self._zoo is not None:
            used = len({cell.method for cell in cells} & self._cards.keys())
            yield f"{PATH}: {self._zoo.summary}; {used} of them are in the matrix"


def group_of(names: Iterable[str]) -> dict[str, dict[str, list[str]]]:
    """Return the name that stands for all encoders of a zoo, by table of the axis."""
    return {Axis.METHOD.plural: {ZOO: list(names)}}


def with_encoders(
    tables: Mapping[str, Any], found: Mapping[str, Any], problems: list[Problem]
) -> dict[str, Any]:
    """Return the tables of a file with a table for each encoder of its zoo.

    Args:
        tables: The file's content, which stays as it is.
        found: The tables of the encoders by name.
        problems: Gets a problem for each name that the file has given to another encoder.
    """
    if _zoo_in(tables) is None:
        return dict(tables)
    own = {name: table for name, table in tables["encoders"].items() if name != ZOO}
    sentence = "is the name of an encoder of the zoo: choose another name"
    problems.extend(Problem(f"encoders.{one}", sentence) for one in own if one in found)
    methods = tables.get(Axis.METHOD.plural)
    if isinstance(methods, Mapping) and ZOO in methods:
        problems.append(Problem(PATH, f"{ZOO!r} is the name of a method, too: choose another name"))
    return {**tables, "encoders": {**own, **found}}


def _zoo_in(tables: Mapping[str, Any]) -> str | None:
    """Return the folder of the zoo that the tables of a file name; ``None`` if they name none."""
    encoders = tables.get("encoders")
    given = encoders.get(ZOO) if isinstance(encoders, Mapping) else None
    return given if isinstance(given, str) else None


def _opened(folder: Path, given: str, problems: list[Problem]) -> Zoo | None:
    try:
        return read_zoo(folder / from_home(Path(given)))
    except UsageError as error:
        problems.append(Problem(PATH, str(error)))
        return None


def _with_origin(encoder: AnyImported, card: Card, problems: list[Problem]) -> AnyImported:
    if encoder.sha256 != card.sha256:
        sentence = f"the weights of {card.name!r} are not those of its card"
        problems.append(Problem(PATH, f"{sentence}: `backbench zoo verify` names all such files"))
    return replace(encoder, origin=card.origin)


def _differences(made: Mapping[str, Any], own: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names in which the uses of two plugins differ: of options, their names."""
    for name in made.keys() | own.keys():
        one, other = made.get(name), own.get(name)
        if name == "options" and isinstance(one, Mapping) and isinstance(other, Mapping):
            yield from _differences(one, other)
        elif one != other:
            yield name
