"""Encoders that were trained elsewhere: how their files are read, and how they are evaluated."""
