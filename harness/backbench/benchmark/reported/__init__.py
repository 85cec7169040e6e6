"""Figures that others have published, a file for each source, and their form."""
