"""The border between the harness and the code of plugins.

What a plugin is handed it cannot change: arrays are read-only, and so are the dicts of events.
What it prints goes to stderr. Whatever it raises becomes one sentence. The current folder, from
which relative paths start, is the same afterwards.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import islice
from numbers import Real
from typing import Any, NoReturn

from backbench.errors import BackbenchError, PluginError, message_of
from backbench.system.interrupts import is_users
from backbench.system.streams import stdout_to_stderr

#: Characters of a plugin's message that are shown.
_SHOWN = 1000


def sentence_of(error: BaseException) -> str:
    """Return the type of an error and its message, in one line."""
    text, name = message_of(error), " ".join(type(error).__name__.split())
    hint = " (copy what a plugin is given before changing it)" if "read-only" in text else ""
    words = " ".join(text[:_SHOWN].split())
    return ": ".join(filter(None, (name, f"{words}{hint}")))


def kind_of(value: object) -> str:
    """Return what a plugin gave, for a sentence: ``a dict``, or ``the class Disc``."""
    return f"the class {value.__name__}" if isinstance(value, type) else f"a {type(value).__name__}"


@contextmanager
def isolated() -> Iterator[None]:
    """Send to stderr what is printed meanwhile, and come back to the current folder at the end."""
    here = ""
    with suppress(OSError):  # it was removed
        here = os.getcwd()  # noqa: PTH109 - ten thousand times
    try:
        with stdout_to_stderr():
            yield
    finally:
        with suppress(OSError):
            if here and os.getcwd() != here:  # noqa: PTH109
                os.chdir(here)


@contextmanager
def plugin_code(what: object = "") -> Iterator[None]:
    """Run code of a plugin.

    Args:
        what: The beginning of the sentence, ``attack 'disc' of acme 1.0``.

    Raises:
        PluginError: Whatever it raised, in one sentence; an error of backbench's own and an
            interruption by the user pass through unchanged.
    """
    try:
        with isolated():
            yield
    except BaseException as error:
        if isinstance(error, BackbenchError) or is_users(error):
            raise
        begin = f"{what} raised " if what else ""
        raise PluginError(begin + sentence_of(error)) from error


def is_finite(value: object) -> bool:
    """Return whether a value is a real number that a float can hold; a truth value is none."""
    try:
        return not isinstance(value, bool) and isinstance(value, Real) and math.isfinite(value)
    except OverflowError:  # an integer of hundreds of digits
        return False


def all_of(given: Iterable[Any], what: object, most: int = 10_000) -> list[Any]:
    """Return what a plugin yields.

    Args:
        given: A list, or a generator, which may never end.
        what: The beginning of the sentence.
        most: So many items at most.

    Raises:
        PluginError: If there are more.
    """
    found = list(islice(given, most + 1))
    if len(found) > most:
        raise PluginError(f"{what} yields more than {most:,} items: it must end")
    return found


class FrozenDict(dict[Any, Any]):
    """A dict that cannot be changed; a copy of it can."""

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("this dict is read-only")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[type[dict[Any, Any]], tuple[dict[Any, Any]]]:
        """Copy and pickle it as a dict."""
        return dict, (dict(self),)


def frozen(value: Any, known: dict[int, Any] | None = None) -> Any:
    """Return a value of which no part can be changed: dicts are frozen, lists become tuples.

    Args:
        value: Of plain values, dataclasses, mappings, lists and tuples.
        known: What has been frozen, by the identity of the original: stages share their options.
    """
    known = {} if known is None else known
    if id(value) in known:
        return known[id(value)]
    made = value
    if isinstance(value, Mapping):
        made = FrozenDict({key: frozen(one, known) for key, one in value.items()})
    elif type(value) in {list, tuple}:
        made = tuple(frozen(one, known) for one in value)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {one.name: getattr(value, one.name) for one in dataclasses.fields(value)}
        changed = {name: frozen(one, known) for name, one in fields.items()}
        if any(changed[name] is not one for name, one in fields.items()):
            made = dataclasses.replace(value, **changed)
    known[id(value)] = made
    return made
