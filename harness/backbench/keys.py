"""The key of a stage: a hash of everything that its result depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

#: Version of the recipe by which keys are made. Raising it invalidates every store.
KEY_SCHEMA = 3

#: The canonical form that is hashed; made once, since a plan hashes tens of thousands of stages.
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def key_of(identity: Mapping[str, Any]) -> str:
    """Hash the identity of a stage.

    Args:
        identity: What :meth:`backbench.model.Stage.identity` returned.

    Returns:
        The first 128 bits of a SHA-256, as 32 hexadecimal digits.
    """
    return hashlib.sha256(_CANONICAL.encode(identity).encode()).hexdigest()[:32]
