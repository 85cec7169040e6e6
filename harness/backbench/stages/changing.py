"""Let a plugin change an encoder, and compare what it gave with what it was given."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from backbench.errors import ResultError
from backbench.plugin.calling import kind_of

if TYPE_CHECKING:
    from backbench.nn import Encoder


def changed_by(
    change: Callable[[Encoder], object], encoder: Encoder, who: str
) -> tuple[Encoder, bool]:
    """Return the encoder that a plugin gave, and whether a weight or a buffer has changed.

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
    return found, not all(one.equal(after[name].cpu()) for name, one in before.items())
