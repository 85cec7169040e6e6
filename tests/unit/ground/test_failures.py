"""What the system refuses is a sentence."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from backbench.errors import failure_of
from backbench.verification.exporting import write_bundle

FULL, READ_ONLY = os.strerror(errno.ENOSPC), os.strerror(errno.EROFS)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(errno.ENOSPC, FULL, "a.zip"), f"a.zip: {FULL.lower()}: make room and run again"),
        (OSError(errno.EROFS, READ_ONLY, "lock"), f"lock: {READ_ONLY.lower()}"),
        (OSError(errno.EROFS, READ_ONLY), READ_ONLY.lower()),
        (OSError("words"), "words"),
        (MemoryError(), "memory is full"),
    ],
)
def test_the_sentence_names_the_path_and_no_number(
    error: MemoryError | OSError, sentence: str
) -> None:
    assert failure_of(error) == sentence


class Fills(dict[str, bytes]):
    """Files of which the disk takes none."""

    def items(self) -> object:  # type: ignore[override]
        raise OSError(errno.ENOSPC, FULL)


def test_a_bundle_for_which_there_is_no_room_is_named(tmp_path: Path) -> None:
    out = tmp_path / "b.zip"
    with pytest.raises(OSError, match="No space left") as caught:
        write_bundle(out, Fills())
    assert caught.value.filename == str(out)
    assert list(tmp_path.iterdir()) == []
