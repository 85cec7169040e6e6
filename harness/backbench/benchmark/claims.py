"""Findings as claims on the numbers: their form, checked before a run. Pure.

A claim states ``metric relation factor × against + margin``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from backbench.benchmark.file import BenchmarkFile, Claim
from backbench.errors import Problem
from backbench.model import NONE, Axis, CellName
from backbench.plugin.infos import OWN_METRICS
from backbench.plugin.reporting import REPORTED_NAME
from backbench.plugin.suggestions import suggestion

#: Compared with the clean encoder under the same trigger.
CONTROL: Final = "control"

#: Compared with the same without attack.
CLEAN: Final = "clean"

#: Metrics that cells without an attack have.
_WITHOUT_ATTACK: Final = frozenset(
    {"accuracy/clean", "detector/accuracy_passed", "detector/fpr", "detector/seconds"}
)


def claim_problems(
    content: BenchmarkFile,
    metrics: Iterable[str],
    plugins: Collection[str] = (),
    *,
    matrix_is_right: bool = True,
) -> Iterator[Problem]:
    """Yield what is wrong with the claims of a benchmark file.

    Args:
        content: The file.
        metrics: Names of the metrics of plugins.
        plugins: Names of the plugins that may report numbers: ``PLUGIN/NAME``.
        matrix_is_right: Whether the cells are known.
    """
    cells: dict[CellName, None] = {}
    for matrix in content.matrix if matrix_is_right and content.claims else ():
        cells.update(dict.fromkeys(content.cells_of(matrix)))
    known = [*sorted(OWN_METRICS), *metrics]
    for index, claim in enumerate(content.claims):
        path = f"claims.{index}"
        plain = claim.metric.partition("@")[0]
        plugin, slash, number = plain.partition("/")
        reported = plugin in plugins and REPORTED_NAME.fullmatch(number)
        if plain not in known and not reported:
            near = [*known, *(f"{one}/{number}" for one in plugins)] if slash else known
            hint = suggestion(plain, near)
            yield Problem(f"{path}.metric", f"no metric is called {plain!r}{hint}")
        sentence = _against_problem(claim.against)
        if sentence:
            yield Problem(f"{path}.against", sentence)
        elif matrix_is_right:
            yield from _cell_problems(claim, cells, path)


def _against_problem(against: str | float) -> str:
    if isinstance(against, float) or against in {CONTROL, CLEAN}:
        return ""
    for part in against.split(","):
        field, sign, name = (one.strip() for one in part.partition("="))
        if not sign:
            return (
                f"should be 'control', 'clean', FIELD=NAME or a number (given: {against!r})"
                f"{suggestion(against, (CONTROL, CLEAN))}"
            )
        if field not in list(Axis):
            return f"no field is called {field!r}{suggestion(field, [*map(str, Axis)])}"
        if not name:
            return f"{field}= names nothing"
    return ""


def _cell_problems(claim: Claim, cells: Mapping[CellName, None], path: str) -> Iterator[Problem]:
    about = [cell for cell in cells if claim.subject.holds(cell)]
    if not about:
        yield Problem(f"{path}.subject", "no [[matrix]] has such a cell")
        return
    needs_attack = claim.metric in OWN_METRICS.keys() - _WITHOUT_ATTACK
    if any(cell.attack == NONE for cell in about):
        if claim.against == CONTROL:
            yield Problem(f"{path}.subject", "cells without an attack have no control: say attacks")
        elif needs_attack:
            yield Problem(f"{path}.subject", f"cells without an attack have no {claim.metric}")
        return
    for cell in about:
        other = counterpart(claim.against, cell)
        if other is None:
            return
        if other == cell:
            sentence = f"{claim.against!r} is the subject itself, for {_called(cell)}"
        elif other not in cells:
            sentence = f"no [[matrix]] has {_called(other)}"
        elif other.attack == NONE and needs_attack:
            sentence = f"cells without an attack have no {claim.metric}: is 'control' meant?"
        else:
            continue
        yield Problem(f"{path}.against", sentence)
        return


def counterpart(against: str | float, cell: CellName) -> CellName | None:
    """Return the cell that another is compared with; ``None`` for a control or a number."""
    if isinstance(against, float) or against == CONTROL:
        return None
    parts = f"attack={NONE}" if against == CLEAN else against
    named = (part.partition("=") for part in parts.split(","))
    changes: dict[str, Any] = {field.strip(): name.strip() for field, _, name in named}
    return replace(cell, **changes)


def _called(cell: CellName) -> str:
    names = dict(cell.row)
    if cell.downstream == NONE:
        del names[Axis.DOWNSTREAM]
    return " · ".join([*names.values(), f"seed {cell.seed}"])
