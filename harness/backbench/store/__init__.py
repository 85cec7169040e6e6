"""The store: artifacts, records, predictions, provenance."""
