"""Let a plugin change an encoder, and compare what it gave with what it was given."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from backbench.errors import ResultError
from backbench.plugin.calling import kind_of
from backbench.store.flags import Flag

if TYPE_CHECKING:
    from backbench.nn import Encoder


class Changed(Enum):
    """The most that has changed of an encoder."""

    NOTHING = auto()
    STATISTICS = auto()
    WEIGHTS = auto()


#: An optimizer that holds the weights of the encoder that was copied does this.
STATISTICS_ALONE: Final = Flag(
    "statistics-alone",
    "no weight of the encoder has changed, but the running statistics of its batch norms have: is "
    "the optimizer one of another copy of the encoder?",
)


def changed_by(
    change: Callable[[Encoder], object], encoder: Encoder, who: str
) -> tuple[Encoder, Changed]:
    """Return the encoder that a plugin gave, and what of it has changed.

    Args:
        change: The plugin's function.
        encoder: The encoder that the function is given.
        who: The kind of the plugin, for errors: ``attack`` or ``defense``.

    Raises:
        ResultError: If the plugin gave anything but an encoder of the same architecture.
    """
    from backbench.nn import Encoder

    spec = encoder.spec
    before = {name: one.cpu().clone() for name, one in encoder.state_dict().items()}
    found = change(encoder)
    if not isinstance(found, Encoder):
        raise ResultError(f"the {who} gave {kind_of(found)}, not an Encoder")
    after = found.state_dict()
    if found.spec != spec or after.keys() != before.keys():
        raise ResultError(f"the {who} gave an encoder of another architecture")
    moved = {name for name, one in before.items() if not one.equal(after[name].cpu())}
    if not moved:
        return found, Changed.NOTHING
    weights = moved & {name for name, _ in found.named_parameters()}
    return found, Changed.WEIGHTS if weights else Changed.STATISTICS
