"""Records as a pandas frame; pandas is an extra."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from backbench.errors import UsageError

if TYPE_CHECKING:
    from pandas import DataFrame as DataFrame  # noqa: PLC0414 - what frame() returns


def frame(records: Sequence[Mapping[str, Any]]) -> DataFrame:
    """Return records as a frame, a line each.

    Args:
        records: Values by name of the column.

    Raises:
        UsageError: If pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise UsageError(
            'to_frame() needs pandas: pip install "backbench[pandas]"; to_records() returns the '
            "same as a list of dicts"
        ) from error
    return pd.DataFrame(records)
