"""The nearest right name for an unknown one, for the sentences of errors."""

import difflib
from collections.abc import Iterable

#: Names that a sentence lists; a dataset may have thousands of classes.
_SHOWN = 20


def nearest(name: str, names: Iterable[str]) -> str | None:
    """Return the name that is most like another, or ``None`` where none is."""
    close = difflib.get_close_matches(name, list(names), n=1)
    return close[0] if close else None


def suggestion(name: str, names: Iterable[str]) -> str:
    """Return the end of a sentence on an unknown name: the nearest name, else all there are.

    It is ``: did you mean 'bee'?``, `` (there are: ant, bee)`` with at most 20 names, or empty
    where there are none.
    """
    known = list(names)
    close = nearest(name, known)
    if close:
        return f": did you mean {close!r}?"
    shown = [*known[:_SHOWN], *(["…"] if len(known) > _SHOWN else [])]
    return f" (there are: {', '.join(shown)})" if known else ""
