"""The store: artifacts, records, predictions, provenance."""

from pathlib import Path

#: Folder of the store, unless the user chooses one.
DEFAULT_STORE = Path("store")
