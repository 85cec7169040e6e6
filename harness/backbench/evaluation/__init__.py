"""Encoders that were trained elsewhere, evaluated on a benchmark: requests and their plans."""
