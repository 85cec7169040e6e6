"""Published matrices as benchmark files, and the figures that others report of them."""

from backbench.benchmark.reproductions.template import (
    Reproduction,
    fill,
    find_reproduction,
    reproduction_names,
)

__all__ = ["Reproduction", "fill", "find_reproduction", "reproduction_names"]
