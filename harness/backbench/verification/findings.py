"""Findings of a verification."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from safetensors import SafetensorError

from backbench.errors import StoreError, printable

#: Exceptions that reading a damaged or a forged file raises.
MALFORMED = (
    KeyError,
    TypeError,
    ValueError,
    AttributeError,
    IndexError,
    ArithmeticError,
    RecursionError,
    MemoryError,
    SafetensorError,
    StoreError,
)


#: Characters that are shown of a finding.
_SHOWN: Final = 2000


@dataclass(frozen=True, slots=True)
class Finding:
    """A stage or file, and the thing of it that differs, or could not be checked."""

    subject: str
    message: str

    def __str__(self) -> str:
        text = printable(f"{self.subject}: {self.message}")  # a stranger's words
        return text if len(text) <= _SHOWN else f"{text[:_SHOWN]} …"


@dataclass(slots=True)
class Findings:
    """All that was found.

    Args:
        checked: Number of stages that were looked at.
        differs: The first thing that differs, of each stage.
        unchecked: What could not be checked, and why.
    """

    checked: int = 0
    differs: list[Finding] = field(default_factory=list)
    unchecked: list[Finding] = field(default_factory=list)

    def look(self, subject: str, differences: Iterable[str]) -> bool:
        """Note the first difference of a stage or a file; return whether there is none."""
        first = next(readable(differences), None)
        if first is not None:
            self.differs.append(Finding(subject, first))
        return first is None

    def lines(self, where: str, what: str = "stages") -> Iterator[str]:
        """Yield what was found in a store, a bundle or a zoo, a line each, and the counts."""
        yield from (f"differs: {finding}" for finding in self.differs)
        yield from (f"not checked: {finding}" for finding in self.unchecked)
        count = len(self.differs)
        yield (
            f"{where}: {self.checked} {what} checked, "
            + (f"{count} differ" + "s" * (count == 1) if count else "no difference")
            + (f", {len(self.unchecked)} things could not be checked" if self.unchecked else "")
        )


def readable(differences: Iterable[str]) -> Iterator[str]:
    """Yield differences; that something cannot be read is one."""
    try:
        yield from differences
    except MALFORMED as error:
        yield f"cannot be read ({type(error).__name__}: {error})"
    except OSError as error:
        yield f"{error.filename}: cannot be read ({error.strerror})"
