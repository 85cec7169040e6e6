"""Encoders that were trained elsewhere: the layouts of their files, and how these are read."""
