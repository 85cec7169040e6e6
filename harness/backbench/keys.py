"""The key of a stage: a hash of everything that its result depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

#: Version of the recipe by which keys are made. Raising it invalidates every store.
KEY_SCHEMA = 3

_ENCODER: Final = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
)


def canonical(value: Any) -> str:
    """Return the one JSON text of a value that is hashed."""
    return _ENCODER.encode(value)


def key_of(identity: Mapping[str, Any], plugin: str = "null") -> str:
    """Hash the identity of a stage.

    Args:
        identity: The stage's identity; ``plugin`` is ``None``.
        plugin: Canonical text of the plugin. A plan has many stages and few plugins, so that the
            text is made once for each.

    Returns:
        The first 128 bits of a SHA-256, as 32 hexadecimal digits.
    """
    # Quotes within a string are escaped, so that this is found only where the plugin stands.
    text = canonical(identity).replace('"plugin":null', f'"plugin":{plugin}', 1)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
