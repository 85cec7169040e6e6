"""backbench: backdoor attacks on, and defenses of, self-supervised image encoders, compared."""

from importlib.metadata import version

__version__ = version("backbench")
