"""The store: artifacts, records, predictions, provenance."""

from pathlib import Path

#: Folder of the store, unless the user chooses one.
DEFAULT_STORE = Path("store")

#: A larger JSON file is none of ours: an index of a million images is no record.
MOST_BYTES = 1 << 26
