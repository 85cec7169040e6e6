"""One source of randomness: every generator is derived from a root seed and labels."""

from __future__ import annotations

import hashlib


def derive(root: int, *labels: str | int) -> int:
    """Derive a seed from a root seed and a path of labels.

    Args:
        root: The benchmark's seed for this cell.
        labels: What the draws are for, ``("poison", "train", 17)``.

    Returns:
        An integer in [0, 2**63): equal for equal arguments on every machine, and
        statistically independent of the seed of any other path.
    """
    text = "\x1f".join(f"{type(label).__name__}:{label}" for label in (root, *labels))
    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1
