"""Many files: work on all cores, positions to look at, problems in one text. No NumPy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Final, TypeVar

from backbench.system.cores import core_count

_LISTED: Final = 20
#: Characters of a problem that are printed.
_LONGEST: Final = 2000

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def map_threads(
    function: Callable[[_Item], _Result], items: Sequence[_Item], chunk: int = 64
) -> list[_Result]:
    """Apply a function to every item, on as many threads as the process has cores; keep the order.

    A thread takes ``chunk`` items at a time: many where each is quick.
    """

    def work(start: int) -> list[_Result]:
        return [function(item) for item in items[start : start + chunk]]

    with ThreadPoolExecutor(core_count()) as pool:
        return list(chain.from_iterable(pool.map(work, range(0, len(items), chunk))))


def spread(total: int, count: int | None) -> list[int]:
    """Pick at most ``count`` positions, evenly spaced in a sequence, the first among them."""
    if count is None or count >= total:
        return list(range(total))
    return [i * total // count for i in range(count)]


def list_problems(head: str, problems: Sequence[str]) -> str:
    """Put sentences on problems under a heading, a line each; beyond twenty only their number."""
    more = len(problems) - _LISTED
    tail = [f"and {more} more"] if more > 0 else []
    shown = [one if len(one) <= _LONGEST else f"{one[:_LONGEST]} …" for one in problems[:_LISTED]]
    return "\n  ".join([f"{head}:", *shown, *tail])
